"""The movements that a text names into the expression whose prototype they come nearest to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from expllm.cot import Observation
from expllm.expressions import Expression
from expllm.facs import ONE_SIDED, Movement, Side, Strength, associated, strength

_INTENSITY = {Strength.FAINT: 0.15, Strength.SLIGHT: 0.3, Strength.CLEAR: 0.525, Strength.STRONG: 0.825}
"""The middle of each band of facs.strength."""
_UNSAID = 0.525
"""A movement whose strength a text does not give counts as clear."""
WHOLE_FROM = 0.5
"""A movement that a prototype needs is whole from here on; below, what it lacks of this counts against it."""


@dataclass(frozen=True)
class Prototype:
    """One combination of movements that shows an expression; a one-sided movement has a minus sign."""

    expression: Expression
    needed: frozenset[int]
    joining: frozenset[int] = field(default_factory=frozenset)
    """What may join them, and speaks neither for the prototype nor against it."""

    def distance(self, intensities: Mapping[int, float]) -> float:
        """The intensity that it leaves unexplained, and what the movements that it needs lack."""
        explained = self.needed | self.joining
        left = sum(value for movement, value in intensities.items() if movement not in explained)
        lacking = sum(max(0.0, WHOLE_FROM - intensities.get(movement, 0.0)) for movement in self.needed)
        return left + lacking


def _prototypes(expression: Expression, *patterns: str) -> tuple[Prototype, ...]:
    """Read patterns such as `4 7 | 5 10`: what is needed, and what may join."""
    halves = [[frozenset(map(int, half.split())) for half in pattern.split("|")] for pattern in patterns]
    return tuple(Prototype(expression, *half) for half in halves)


_JAW = "25 26 27"

PROTOTYPES: tuple[Prototype, ...] = (
    *_prototypes(Expression.NEUTRAL, ""),
    *_prototypes(Expression.HAPPINESS, f"12 | 6 7 {_JAW}", f"6 -12 | 7 {_JAW}", f"-12 25 | 6 7 {_JAW}"),
    *_prototypes(
        Expression.SADNESS,
        f"1 15 | 4 6 7 17 20 {_JAW}",
        f"4 15 | 1 6 17 {_JAW}",
        f"1 4 | 15 17 {_JAW}",
        f"6 15 | 17 {_JAW}",
        "15 | 17",
        "1 17 | 4 7 15",
    ),
    *_prototypes(
        Expression.SURPRISE, f"1 2 5 | {_JAW}", "1 2 26 | 5 25", "1 2 27 | 5 25", "5 26 | 2 25", "5 27 | 2 25"
    ),
    *_prototypes(
        Expression.FEAR,
        f"1 4 5 | 2 7 20 {_JAW}",
        f"1 5 20 | 2 4 7 {_JAW}",
        f"5 20 | 1 2 4 7 {_JAW}",
        f"1 4 20 25 | 2 {_JAW}",
    ),
    *_prototypes(Expression.DISGUST, f"9 | 4 6 7 10 15 16 17 24 {_JAW}", f"10 | 9 15 16 17 {_JAW}"),
    *_prototypes(
        Expression.ANGER,
        f"4 7 | 5 10 17 22 23 24 {_JAW}",
        f"4 5 | 7 10 17 22 23 24 {_JAW}",
        "4 23 | 5 7 17 24",
        "4 24 | 5 7 17 23",
    ),
    *_prototypes(Expression.CONTEMPT, "-14 | -12 17 24", "-12 | -14"),
)
"""Of prototypes equally near, the one that needs more counts, and then the first.

Source:
    Ekman, Friesen and Hager, FACS Investigator's Guide (2002), table 10-1, prototypes and major variants;
    what may join them also from Du, Tao and Martinez, Compound facial expressions of emotion (PNAS 2014),
    table 1. Contempt: Ekman and Friesen, A new pan-cultural facial expression of emotion (1986).
"""


def nearest(named: Iterable[Observation]) -> Expression:
    """Give the expression of the prototype nearest to the movements that a text names; neutral without any.

    Movements that are associated with no expression say nothing.
    """
    intensities = {_signed(o): _INTENSITY.get(o.strength, _UNSAID) if o.strength else _UNSAID for o in named}
    telling = {movement: value for movement, value in intensities.items() if _tells(movement)}
    return min(PROTOTYPES, key=lambda one: (one.distance(telling), -len(one.needed))).expression


def as_named(movement: Movement) -> Observation:
    """A movement as a text would name it, without the expressions it is associated with."""
    return Observation(movement.number, movement.side, strength(movement.intensity), ())


def _signed(observation: Observation) -> int:
    one_sided = observation.side is not Side.BOTH and observation.number in ONE_SIDED
    return -observation.number if one_sided else observation.number


def _tells(signed: int) -> bool:
    return bool(associated(abs(signed), Side.BOTH if signed > 0 else Side.LEFT))
