"""What was shown and what a model said into the JSON document of an evaluation."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from expllm.datasets import LabelledFace
from expllm.evaluation import counterfactual, slices
from expllm.evaluation.answers import Said
from expllm.evaluation.asking import Asked, Changed, Shown, ShownPair
from expllm.evaluation.bootstrap import Figure, Resampling, difference, estimates, share
from expllm.evaluation.calibration import refitted_error
from expllm.evaluation.chains import Change
from expllm.evaluation.figures import Columns, by_class, columns, reliability
from expllm.expressions import EXPRESSIONS

HEADLINE = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "calibration_error",
    "parsed",
    "au_precision",
    "au_recall",
)
"""The figures at the top of the document, of texts with hints unless the evaluation is of those without."""
_DOUBTFUL_PARSED = 0.5
"""A model less of whose label-first texts can be read was not made to write them."""
NO_LABEL_FIRST = "label first: this model cannot be made to write the label before the chain"
NO_CHAINS = "chain_followed: this model does not go on from the first words of an answer"


@dataclass(frozen=True)
class Evaluated:
    """What is evaluated, and how."""

    model: str
    data: str
    hints: bool
    """Whether the headline figures are of texts with hints."""
    rejected: dict[str, int]
    """Rows of the data set that could not be used, by reason."""
    resampling: Resampling


def document(
    about: Evaluated, shown: Sequence[Shown], pairs: Sequence[ShownPair], asked: Asked
) -> dict[str, Any]:
    """Measure everything; a figure is an object of value, low, high (95 %) and count, null where unknown."""
    people, drawn = people_of(shown), about.resampling
    faces = [one.face for one in shown]
    both = {hints: columns_of(shown, asked, hints=hints) for hints in (True, False)}
    figures = {hints: estimates(columns, people, drawn) for hints, columns in both.items()}
    pictured = {
        hints: counterfactual.measure([one.pair for one in pairs], said, drawn)
        for hints, said in ((True, asked.pairs_hints), (False, asked.pairs))
    }
    chain = _chain(asked.chains, people, drawn)
    main, headline = both[about.hints], figures[about.hints]
    return {
        "model": about.model,
        "data": about.data,
        "faces": len(shown),
        "hints": about.hints,
        **_first(headline, pictured, chain),
        "au_compared_with": "true" if any(face.action_units for face in faces) else "measured",
        "rejected": about.rejected,
        "with_hints": _plain(figures[True]),
        "without_hints": _plain(figures[False]),
        **_labels(faces, main, people, drawn),
        **_scores(main, asked.with_hints if about.hints else asked.without_hints, people, asked.temperature),
        "orders": _orders(shown, asked, main, headline, drawn),
        "counterfactual": asdict(pictured[False]),
        "counterfactual_hints": asdict(pictured[True]),
        "chain": _plain(chain),
        "notes": _notes(asked, faces),
        "bootstrap": asdict(drawn),
    }


def people_of(shown: Sequence[Shown]) -> list[Hashable]:
    """Who each face belongs to; a face of nobody known stands for itself."""
    return [one.face.person or f"face {place}" for place, one in enumerate(shown)]


def columns_of(shown: Sequence[Shown], asked: Asked, *, hints: bool) -> Columns:
    """What a model says with or without hints, beside the truth."""
    return _columns(shown, asked.with_hints if hints else asked.without_hints, asked.temperature)


def comparison(
    ours: tuple[str, Columns], theirs: tuple[str, Columns], people: Sequence[Hashable], drawn: Resampling
) -> dict[str, Any]:
    """How two models differ on the same faces, and the one line that says it."""
    found = {name: difference(ours[1], theirs[1], people, drawn, name) for name in HEADLINE}
    return {
        "line": _line(ours[0], theirs[0], found["accuracy"]),
        "differences": _plain(found),
    }


def short(value: float | None) -> str:
    """A share of 1 as .xxx, and a dash where there is none."""
    if value is None:
        return "–"
    return ("-" if value < 0 else "") + f"{abs(value):.3f}".removeprefix("0")


def summary(found: dict[str, Any]) -> str:
    """The first figures as lines of text, and the comparison where there is one."""
    lines = [f"{found['model']} on {found['data']}: {found['faces']} faces"]
    lines += [
        f"  {name.replace('_', ' '):36}{short(found[name]):>6}  {_bounds(*bounds)}"
        for name, bounds in found["intervals"].items()
    ]
    against = [found["against"]["line"]] if "against" in found else []
    return "\n".join([*lines, *found["notes"], *against])


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None else f"[{short(low)}, {short(high)}]"


def _line(ours: str, theirs: str, gap: Figure) -> str:
    if gap.value is None or gap.low is None or gap.high is None:
        return f"{ours} against {theirs}: nothing to compare"
    verdict = f"{ours} is better" if gap.low > 0 else f"{theirs} is better" if gap.high < 0 else "no telling"
    numbers = f"{_signed(gap.value)} [{_signed(gap.low)}, {_signed(gap.high)}]"
    return f"{ours} against {theirs}, accuracy on {gap.count} faces: {numbers} (95 %): {verdict}"


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else ''}{short(value)}"


def _columns(shown: Sequence[Shown], said: Sequence[Said], temperature: float) -> Columns:
    faces, measured = [one.face for one in shown], [one.measured for one in shown]
    return columns(faces, said, measured, temperature=temperature)


def _first(
    headline: dict[str, Figure],
    pictured: dict[bool, counterfactual.Counterfactual],
    chain: dict[str, Figure],
) -> dict[str, Any]:
    """The figures that stand at the top, by themselves, and their intervals."""
    found = {
        **{name: headline[name] for name in HEADLINE},
        "counterfactual_faithfulness": pictured[False].faithfulness,
        "counterfactual_faithfulness_hints": pictured[True].faithfulness,
        "chain_followed": chain["followed"],
    }
    intervals = {name: [figure.low, figure.high] for name, figure in found.items()}
    return {**{name: figure.value for name, figure in found.items()}, "intervals": intervals}


def _labels(
    faces: Sequence[LabelledFace], main: Columns, people: Sequence[Hashable], drawn: Resampling
) -> dict[str, Any]:
    """The labels by what is true of the faces."""
    counts = main.confusion()
    groups = slices.subgroups(faces, main, people, drawn)
    return {
        "classes": by_class(counts),
        "confusion": {"expressions": list(map(str, EXPRESSIONS)), "counts": counts.tolist()},
        "micro": _sliced(slices.micro(faces, main, people, drawn)),
        "groups": {name: _sliced(found) for name, found in groups.items()},
    }


def _scores(
    main: Columns, said: Sequence[Said], people: Sequence[Hashable], temperature: float
) -> dict[str, Any]:
    """Why faces have no label, and how sure the model is of the others.

    Where it tells all eight scores of a face, also what a temperature fitted on these data would give.
    """
    known = [place for place, one in enumerate(said) if one.expression and len(one.label_logprobs) == 8]
    logprobs = np.array([[said[place].label_logprobs[e] for e in EXPRESSIONS] for place in known])
    own = [people[place] for place in known]
    return {
        "without_label": dict(Counter(one.reason for one in said if one.reason)),
        "calibration": {
            "temperature": temperature,
            "refitted": refitted_error(logprobs, main.true[known], main.predicted[known], own)
            if known
            else None,
            "bins": reliability(main),
        },
    }


def _orders(
    shown: Sequence[Shown], asked: Asked, main: Columns, headline: dict[str, Figure], drawn: Resampling
) -> dict[str, Any]:
    chain_first = {name: headline[name] for name in ("accuracy", "parsed", "au_precision", "au_recall")}
    found = {"chain_first": _plain(chain_first), "label_only": asdict(headline["label_only_accuracy"])}
    if asked.label_first is None:
        return {**found, "label_first": None, "difference": None}
    first, people = _columns(shown, asked.label_first, asked.temperature), people_of(shown)
    gap = difference(main, first, people, drawn, "accuracy")
    return {
        **found,
        "label_first": _plain(estimates(first, people, drawn, chain_first)),
        "difference": asdict(gap),
    }


def _chain(changed: list[Changed] | None, people: Sequence[Hashable], drawn: Resampling) -> dict[str, Figure]:
    """Shares of labels that are as the rule says, by what was changed; `followed` leaves the control out."""

    def followed(*changes: Change) -> Figure:
        counted = [one for one in changed or () if one.edit.change in changes]
        is_right = [one.said.expression is one.edit.should for one in counted]
        return share(is_right, [people[one.place] for one in counted], drawn)

    own = {str(change): followed(change) for change in Change}
    return {"followed": followed(Change.REMOVED, Change.SWAPPED), **own}


def _notes(asked: Asked, faces: Sequence[LabelledFace]) -> list[str]:
    notes = []
    if asked.label_first is None:
        notes.append(NO_LABEL_FIRST)
    else:
        readable = [one.parsed for one in asked.label_first if one.parsed is not None]
        if readable and sum(readable) < _DOUBTFUL_PARSED * len(readable):
            notes.append(
                f"label first: of {len(readable)} texts begun with the label {sum(readable)} can be read; "
                "this model was not taught that order, and its figure says little"
            )
    if asked.chains is None:
        notes.append(NO_CHAINS)
    elif not asked.chains:
        notes.append("chain_followed: no chain could be changed so that the rule's answer changes")
    if not any(face.action_units for face in faces):
        notes.append("the data do not tell true action units: texts are compared with the measured ones")
    if not any(face.peak for face in faces):
        notes.append("micro: the data do not tell how strong an expression is")
    return notes


def _sliced(found: Sequence[slices.Slice]) -> list[dict[str, Any]]:
    return [{"value": one.value, "faces": one.faces, **_plain(one.figures)} for one in found]


def _plain(figures: dict[str, Figure]) -> dict[str, dict[str, Any]]:
    return {name: asdict(figure) for name, figure in figures.items()}
