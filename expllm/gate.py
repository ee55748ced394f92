"""What a training recorded of its model, beside what would answer in its place -> why that must not serve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, ConfigDict, ValidationError

from expllm.errors import CallerError
from expllm.expressions import EXPRESSIONS

FILE = "gate.json"
"""Where in a checkpoint's folder the record lies."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(_Kept):
    """How likely a model finds the frozen answers about one frozen face."""

    labels: tuple[float, ...]
    """Log probability of each expression's first token, after prompt.ask_label."""
    text: tuple[float, ...]
    """Log probability of each token that the trainer wrote, after prompt.explain."""


class Adapter(_Kept):
    """What a training's adapters add to one part of the model."""

    norm: float
    """Frobenius norm of all that is added to the weights."""
    scores_without: tuple[Scores, ...]
    """What the trainer's model scores when this part's adapters are switched off."""


class Reading(_Kept):
    """All that decides how the frozen faces and questions reach the model."""

    prompt_id: str
    preprocessing: str
    """Hash of preprocessing.json."""
    faces: str
    """Hash of the frozen crops' pixels."""
    questions: tuple[tuple[int, ...], ...]
    """Token ids, the image's places included: prompt.explain and prompt.ask_label of each face in turn."""
    label_tokens: tuple[int, ...]


class Record(_Kept):
    """What a training keeps of its model before adapters are merged and weights rounded."""

    base: str | None
    """What the training began with, a bundled model's name or a folder; None where it made a new model."""
    base_id: str | None
    reading: Reading
    texts: tuple[tuple[int, ...], ...]
    """Token ids of what the trainer's model writes of each face."""
    text_labels: tuple[str | None, ...]
    """The label of each text; None where the text cannot be read."""
    scores: tuple[Scores, ...]
    adapters: dict[str, Adapter]
    """By the part of the model that has them."""

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read a checkpoint's record.

        Raises:
            CallerError: there is none, or it is none of this version.
        """
        file = folder / FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise CallerError(
                f"{folder} holds no {FILE}, which a training writes: train the model with `expllm train`"
            ) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise CallerError(f"{file}: {place}: {first['msg']}; train the model again") from error

    def write(self, folder: Path) -> None:
        """Write it beside the weights."""
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n")


@dataclass(frozen=True)
class Answers:
    """What an engine makes of the frozen faces."""

    questions: tuple[tuple[int, ...], ...]
    """As Reading.questions, as the engine itself read them."""
    scores: tuple[Scores, ...]
    are_first: tuple[tuple[bool, ...], ...]
    """Whether each token of the trainer's texts is the one that the engine would write there."""
    text_labels: tuple[str | None, ...]


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from the trainer."""

    exact: float | None
    """Most that a log probability may differ from Transformers' on the same files; None to not compare."""
    recorded: float
    """Most that log probabilities may differ on average from the trainer's own, before rounding."""
    first_rate: float
    """Least share of the trainer's tokens that are the engine's as well."""
    tie: float
    """Labels whose log probabilities lie nearer to each other than this may change places."""


TOLERANCES = {
    "float32": Tolerance(exact=1e-3, recorded=0.05, first_rate=0.97, tie=0.05),
    "bfloat16": Tolerance(exact=None, recorded=0.2, first_rate=0.9, tie=0.25),
}
"""By the engine's numbers: in bfloat16 the size of a batch moves each log probability, so labels and first
tokens decide."""


def misread(recorded: Reading, now: Reading) -> Iterator[str]:
    """Say what would reach the model otherwise than in training; nothing where all is the same."""
    if now.prompt_id != recorded.prompt_id:
        yield f"it was trained on prompt {recorded.prompt_id}, and this version asks prompt {now.prompt_id}"
    if now.preprocessing != recorded.preprocessing:
        yield "its preprocessing.json is not the one it was trained with"
    if now.faces != recorded.faces:
        yield "the frozen faces are decoded to other pixels here than in training"
    yield from misread_questions(recorded, now.questions, "the tokenizer beside the weights")
    if now.label_tokens != recorded.label_tokens:
        yield "the tokenizer beside the weights turns the labels into other tokens than in training"


def misread_questions(recorded: Reading, questions: Sequence[tuple[int, ...]], reader: str) -> Iterator[str]:
    """Say whether a reader of the frozen questions makes other tokens of them than the trainer did."""
    pairs = zip_longest(recorded.questions, questions)  # another version may ask more or fewer
    changed = sum(a != b for a, b in pairs)
    if changed:
        yield (
            f"{reader} turns {changed} of {len(questions)} frozen prompts into other tokens than training "
            "did, so a template or tokenizer differs"
        )


def idle(record: Record) -> Iterator[str]:
    """Name the adapters that change nothing of what the trainer's own model says."""
    for part, adapter in record.adapters.items():
        if adapter.norm == 0 or mean_difference(record.scores, adapter.scores_without) == 0:
            yield f"the adapter of the {part} changes nothing: it has learnt nothing"


def disagreements(
    record: Record, again: Sequence[Scores], engine: Answers, allowed: Tolerance
) -> Iterator[str]:
    """Say in what an engine answers otherwise than the trainer; nothing where it serves the trained model.

    Args:
        again: What Transformers scores with the checkpoint's files.
    """
    yield from misread_questions(record.reading, engine.questions, "the engine")
    yield from _ignored(record, engine.scores)
    worst = largest_difference(again, engine.scores)
    if allowed.exact is not None and worst > allowed.exact:
        yield (
            f"a log probability of the engine is {worst:.2g} away from that of the same files in "
            f"Transformers, more than {allowed.exact:g}"
        )
    away = mean_difference(record.scores, engine.scores)
    if away > allowed.recorded:
        yield (
            f"the engine's log probabilities are {away:.2g} away from the trainer's on average, "
            f"more than {allowed.recorded:g}"
        )
    firsts = [is_first for text in engine.are_first for is_first in text]
    if sum(firsts) < allowed.first_rate * len(firsts):
        yield (
            f"{sum(firsts)} of {len(firsts)} tokens of the trainer's texts are what the engine would write, "
            f"less than {allowed.first_rate:g} of them"
        )
    yield from _other_labels(record, engine, allowed.tie)


def largest_difference(ours: Sequence[Scores], theirs: Sequence[Scores]) -> float:
    """The largest difference of a log probability of the frozen answers."""
    return max(_differences(ours, theirs))


def mean_difference(ours: Sequence[Scores], theirs: Sequence[Scores]) -> float:
    """The mean difference of the log probabilities of all frozen answers."""
    return fmean(_differences(ours, theirs))


def _ignored(record: Record, scores: Sequence[Scores]) -> Iterator[str]:
    """Name the adapters without which the trainer's model is nearer to these scores than with them."""
    for part, adapter in record.adapters.items():
        if mean_difference(scores, record.scores) >= mean_difference(scores, adapter.scores_without):
            yield f"the adapter of the {part} is ignored: without it the trainer's model answers so"


def _other_labels(record: Record, engine: Answers, tie: float) -> Iterator[str]:
    for place, (ours, theirs) in enumerate(zip(record.scores, engine.scores, strict=True), 1):
        first, other = _best(ours), _best(theirs)
        if ours.labels[first] - ours.labels[other] > tie:
            yield (
                f"the label of frozen face {place} is {EXPRESSIONS[other]} by the engine, "
                f"{EXPRESSIONS[first]} by the trainer"
            )
    if engine.text_labels != record.text_labels:
        yield f"the texts end in {_told(engine)} by the engine, in {_told(record)} by the trainer"


def _told(texts: Record | Answers) -> str:
    return ", ".join(label or "no label" for label in texts.text_labels)


def _best(scores: Scores) -> int:
    return max(range(len(scores.labels)), key=scores.labels.__getitem__)


def _differences(ours: Sequence[Scores], theirs: Sequence[Scores]) -> list[float]:
    return [
        abs(a - b)
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one.labels + one.text, other.labels + other.text, strict=True)
    ]
