"""Whether the label follows the chain: one movement changed in Key Observations, and the label then.

The model's own Key Observations are read, one movement is removed or swapped for another, and the model
goes on from there without hints. What the label should be is told by the fixed rule, `writer.classify`, of
the movements that the text names. A change counts where the rule gives the model's own label before it and
another one after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from expllm import cot, writer
from expllm.cot import Observation
from expllm.expressions import Expression
from expllm.facs import ACTION_UNITS, COLUMNS, Movement, Side, Strength

_MIDDLE = {Strength.FAINT: 0.15, Strength.SLIGHT: 0.3, Strength.CLEAR: 0.525, Strength.STRONG: 0.825}
"""What a strength in words stands for: the middle of its band."""
_AT_REST = "No movement stands out."


class Change(StrEnum):
    """What is done to Key Observations."""

    NONE = "unchanged"
    REMOVED = "removed"
    SWAPPED = "swapped"


@dataclass(frozen=True)
class Edit:
    """Key Observations to begin an answer with, and the label that the rule gives for them."""

    change: Change
    key_observations: str
    should: Expression

    @property
    def begun(self) -> str:
        """The words the answer is begun with: the model cannot add to the observations any more."""
        return f"{cot.begin(cot.KEY_OBSERVATIONS)} {self.key_observations}\n{cot.begin(cot.INTERPRETATION)}"


def edits(key_observations: str, label: Expression) -> list[Edit]:
    """The plainest removal and the plainest swap that move the rule's answer away from the model's own label.

    Before them stands the text as it was, said anew, as a control. Empty where no change counts: the text
    gives a movement no strength, the rule does not give the label, or no single change moves its answer.
    """
    named = cot.observations(key_observations)
    is_vague = any(o.strength is None or o.side is None for o in named)
    if is_vague or writer.rule(intensities(named)) is not label:
        return []
    found = [
        edit
        for change, candidates in ((Change.REMOVED, _removals(named)), (Change.SWAPPED, _swaps(named)))
        if (edit := _plainest(change, candidates, label)) is not None
    ]
    return [Edit(Change.NONE, rewritten(named), label), *found] if found else []


def intensities(named: Sequence[Observation]) -> dict[str, float]:
    """The movements of a text as the table's columns; all that it does not name is at rest."""
    found = dict.fromkeys(COLUMNS, 0.0)
    for observation in named:
        found |= _columns(observation)
    return found


def rewritten(named: Sequence[Observation]) -> str:
    """Key Observations that names movements, with their expressions, in the words of `cot.mention`."""
    groups = groupby(named, key=lambda o: o.associated)
    text = "; ".join(", ".join(map(_mention, group)) + _bracket(shared) for shared, group in groups)
    return f"{text}." if text else _AT_REST


def _removals(named: Sequence[Observation]) -> Iterator[tuple[Observation, ...]]:
    for place in range(len(named)):
        yield (*named[:place], *named[place + 1 :])


def _swaps(named: Sequence[Observation]) -> Iterator[tuple[Observation, ...]]:
    """Each movement in turn gives its place and strength to an unnamed one that speaks for something."""
    present = {o.number for o in named}
    others = [unit for unit in ACTION_UNITS.values() if unit.associated and unit.number not in present]
    for place, observation in enumerate(named):
        for unit in others:
            new = Observation(unit.number, Side.BOTH, observation.strength, unit.associated[:1])
            yield (*named[:place], new, *named[place + 1 :])


def _plainest(
    change: Change, candidates: Iterator[tuple[Observation, ...]], label: Expression
) -> Edit | None:
    """The candidate whose runner-up is furthest behind, of those for which the rule gives another label."""
    scored = [(writer.classify(intensities(named)), named) for named in candidates]
    moved = [(scores, named) for scores, named in scored if max(scores, key=scores.__getitem__) is not label]
    if not moved:
        return None
    scores, named = min(moved, key=lambda one: _nearness(one[0]))
    return Edit(change, rewritten(named), max(scores, key=scores.__getitem__))


def _nearness(scores: Mapping[Expression, float]) -> float:
    """How near the runner-up is, 0..1."""
    second, first = sorted(scores.values())[-2:]
    return second / first


def _columns(observation: Observation) -> dict[str, float]:
    assert observation.strength is not None
    value = _MIDDLE[observation.strength]
    column = ACTION_UNITS[observation.number].column
    sides = {Side.LEFT: (value, 0.0), Side.RIGHT: (0.0, value)}.get(observation.side or Side.BOTH)
    left, right = sides or (value, value)
    own = {column: (left + right) / 2, f"{column}_left": left, f"{column}_right": right}
    return {name: intensity for name, intensity in own.items() if name in COLUMNS}


def _mention(observation: Observation) -> str:
    assert observation.strength is not None and observation.side is not None
    return cot.mention(Movement(observation.number, observation.side, _MIDDLE[observation.strength]))


def _bracket(expressions: Sequence[Expression]) -> str:
    return f" ({', '.join(expressions)})" if expressions else ""
