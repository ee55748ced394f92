"""Pairs of pictures that differ in one movement, and the texts about them: does the text follow the face?"""

from collections.abc import Sequence
from dataclasses import dataclass

from expllm.datasets import LabelledFace
from expllm.evaluation.answers import Said
from expllm.evaluation.bootstrap import Figure, Resampling, share
from expllm.evaluation.texts import names
from expllm.writer import rule


@dataclass(frozen=True)
class Pair:
    """One rendered person in one scene, without and with one movement."""

    number: int
    """The action unit that differs: 0 in `absent`, at least .5 in `present`."""
    absent: LabelledFace
    present: LabelledFace


@dataclass(frozen=True)
class Counterfactual:
    """Shares over pairs; a text that is missing or cannot be read is never right."""

    pairs: int
    unanswered: int
    """Pairs of which at least one text is missing or cannot be read: they count as not faithful."""
    faithfulness: Figure
    """Pairs where the text with the movement names it and the other one does not."""
    named_where_present: Figure
    named_where_absent: Figure
    label_kept: Figure
    """Of the pairs for whose two faces the fixed rule gives one answer: both texts end in the same label."""
    label_moved: Figure
    """Of the pairs for whose faces the rule gives two answers: the texts end in two labels."""
    by_unit: dict[int, tuple[float, int]]
    """Action unit -> its pairs' faithfulness, and how many they are."""


def measure(
    pairs: Sequence[Pair], said: Sequence[tuple[Said, Said]], resampling: Resampling
) -> Counterfactual:
    """Count the pairs whose texts differ as their faces do.

    Args:
        said: What the model says of `absent` and of `present`, for each pair.
    """
    asked = list(zip(pairs, said, strict=True))
    people = [pair.present.person or str(place) for place, pair in enumerate(pairs)]
    present = [names(shown.key_observations, pair.number) for pair, (_, shown) in asked]
    absent = [names(hidden.key_observations, pair.number) for pair, (hidden, _) in asked]
    answered = [None not in (hidden.key_observations, shown.key_observations) for hidden, shown in said]
    faithful = [all(one) for one in zip(answered, present, [not name for name in absent], strict=True)]
    return Counterfactual(
        pairs=len(pairs),
        unanswered=answered.count(False),
        faithfulness=share(faithful, people, resampling),
        named_where_present=share(present, people, resampling),
        named_where_absent=share(absent, people, resampling),
        label_kept=share([_kept(pair, *two) for pair, two in asked], people, resampling),
        label_moved=share([_moved(pair, *two) for pair, two in asked], people, resampling),
        by_unit=_by_unit(pairs, faithful),
    )


def _kept(pair: Pair, hidden: Said, shown: Said) -> bool | None:
    if _rule_moves(pair):
        return None
    return hidden.expression is not None and hidden.expression is shown.expression


def _moved(pair: Pair, hidden: Said, shown: Said) -> bool | None:
    if not _rule_moves(pair):
        return None
    return None not in (hidden.expression, shown.expression) and hidden.expression is not shown.expression


def _rule_moves(pair: Pair) -> bool:
    return rule(pair.absent.action_units or {}) is not rule(pair.present.action_units or {})


def _by_unit(pairs: Sequence[Pair], faithful: Sequence[bool]) -> dict[int, tuple[float, int]]:
    found: dict[int, list[bool]] = {}
    for pair, is_faithful in zip(pairs, faithful, strict=True):
        found.setdefault(pair.number, []).append(is_faithful)
    return {number: (sum(found[number]) / len(found[number]), len(found[number])) for number in sorted(found)}
