"""Faces and pairs of faces through one model: every question of an evaluation, and what the answers say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from expllm.datasets import LabelledFace
from expllm.errors import Reject
from expllm.evaluation.answers import NO_FACE, Answerer, Question, Said, SeenFace, read
from expllm.evaluation.chains import Edit, edits
from expllm.evaluation.counterfactual import Pair
from expllm.facs import Intensities


@dataclass(frozen=True, eq=False)
class Shown:
    """One face of a data set, and as it is found in its photograph."""

    face: LabelledFace
    seen: SeenFace | Reject | None
    """None where no face is found, or why the photograph cannot be used."""

    @property
    def measured(self) -> Intensities | None:
        """The movements measured on it, if it was found."""
        return self.seen.measured if isinstance(self.seen, SeenFace) else None


@dataclass(frozen=True)
class Changed:
    """One changed chain: what the answer was begun with, and what came of it."""

    place: int
    """Of the face, among those shown."""
    edit: Edit
    said: Said


@dataclass(frozen=True)
class Asked:
    """All answers of one model, each list in the order of what was shown."""

    temperature: float
    with_hints: list[Said]
    without_hints: list[Said]
    label_first: list[Said] | None
    """None where the model cannot be made to write the label first."""
    pairs: list[tuple[Said, Said]]
    """Without hints: about the face without the movement, and about the one with it."""
    pairs_hints: list[tuple[Said, Said]]
    chains: list[Changed] | None
    """None where the model does not go on from the first words of an answer."""


@dataclass(frozen=True)
class ShownPair:
    """Two pictures that differ in one movement, as their faces are found."""

    pair: Pair
    absent: Shown
    present: Shown


def ask(
    answerer: Answerer,
    shown: Sequence[Shown],
    pairs: Sequence[ShownPair],
    *,
    hints: bool,
    most_chains: int,
    tell: Callable[[str], None],
) -> Asked:
    """Ask everything about every face.

    Args:
        hints: Whether labels written first are asked for with hints.
        most_chains: Faces whose chains are changed, at most.
        tell: Is told in one line what is asked next.
    """
    tell(f"{len(shown)} faces, with hints")
    with_hints = _said(answerer, shown, hints=True, is_scored=True)
    tell(f"{len(shown)} faces, without hints")
    without_hints = _said(answerer, shown, hints=False, is_scored=True)
    label_first = None
    if answerer.can_put_label_first:
        tell(f"{len(shown)} faces, label first")
        label_first = _said(answerer, shown, hints=hints, is_label_first=True)
    tell(f"{len(pairs)} pairs that differ in one movement")
    return Asked(
        temperature=answerer.temperature,
        with_hints=with_hints,
        without_hints=without_hints,
        label_first=label_first,
        pairs=_pairs(answerer, pairs, hints=False),
        pairs_hints=_pairs(answerer, pairs, hints=True),
        chains=_chains(answerer, shown, without_hints, most_chains, tell) if answerer.continues else None,
    )


def _said(
    answerer: Answerer,
    shown: Sequence[Shown],
    *,
    hints: bool,
    is_scored: bool = False,
    is_label_first: bool = False,
) -> list[Said]:
    questions = [
        Question(one.seen, one.measured if hints else None, is_scored, is_label_first)
        for one in shown
        if isinstance(one.seen, SeenFace)
    ]
    replies = iter(answerer.answer(questions))
    return [
        read(next(replies), answerer.temperature)
        if isinstance(one.seen, SeenFace)
        else Said(reason=str(one.seen or NO_FACE))
        for one in shown
    ]


def _pairs(answerer: Answerer, pairs: Sequence[ShownPair], *, hints: bool) -> list[tuple[Said, Said]]:
    both = [shown for pair in pairs for shown in (pair.absent, pair.present)]
    said = _said(answerer, both, hints=hints)
    return list(zip(said[::2], said[1::2], strict=True))


def _chains(
    answerer: Answerer,
    shown: Sequence[Shown],
    said: Sequence[Said],
    most: int,
    tell: Callable[[str], None],
) -> list[Changed]:
    """Change the chains of the first faces that a change counts for, and have each gone on with."""
    found = (
        [(place, one.seen, edit) for edit in edits(own.key_observations, own.expression)]
        for place, (one, own) in enumerate(zip(shown, said, strict=True))
        if own.expression and own.key_observations and isinstance(one.seen, SeenFace)
    )
    changes = [change for changes in islice(filter(None, found), most) for change in changes]
    tell(f"{len(changes)} chains that are begun with changed observations")
    replies = answerer.answer([Question(seen, None, begun=edit.begun) for _, seen, edit in changes])
    return [
        Changed(place, edit, read(reply, answerer.temperature))
        for (place, _, edit), reply in zip(changes, replies, strict=True)
    ]
