"""Facial action units: numbers, names, sides, strength bands, and what each is associated with.

Intensities travel as a mapping from table column ("au01" … "au43") to 0..1, or None where the
movement cannot be measured. This file is the only place where columns, names and associations stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from expllm.expressions import Expression

Intensities = Mapping[str, float | None]
"""Table column -> intensity 0..1, None where it cannot be measured; every column of COLUMNS is a key."""


class Side(StrEnum):
    """The half of the face, as the person has it, not as the viewer sees it."""

    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"


class Strength(StrEnum):
    """How strong a movement is, in words: the only vocabulary of strength in texts."""

    FAINT = "faint"
    SLIGHT = "slight"
    CLEAR = "clear"
    STRONG = "strong"


_BANDS = ((Strength.FAINT, 0.2), (Strength.SLIGHT, 0.4), (Strength.CLEAR, 0.65))

NAMED_FROM = 0.1
"""A text may name a movement from this intensity on; below it, naming the movement is wrong."""
EXPECTED_FROM = 0.2
"""A text must name a movement from this intensity on; between the two, either is right."""
ONE_SIDED_FROM = 0.15
"""Left and right differ by at least this much: the movement is one-sided."""


def strength(intensity: float) -> Strength:
    """Put an intensity (0..1) into words; the bands end at .2, .4 and .65."""
    return next((band for band, end in _BANDS if intensity < end), Strength.STRONG)


@dataclass(frozen=True)
class ActionUnit:
    """One facial movement of the Facial Action Coding System."""

    number: int
    name: str
    associated: tuple[Expression, ...]
    """Expressions it is a part of, the most typical first; empty where it is no sign of any."""
    sided: bool = False
    """Whether the table has a column for each side."""

    @property
    def column(self) -> str:
        """The table's column for the movement as a whole."""
        return f"au{self.number:02d}"


_H, _SA, _SU, _F = Expression.HAPPINESS, Expression.SADNESS, Expression.SURPRISE, Expression.FEAR
_D, _A, _C = Expression.DISGUST, Expression.ANGER, Expression.CONTEMPT

# Names and numbers: Ekman, Friesen and Hager, Facial Action Coding System (2002).
# Associations: the prototypes and major variants of Ekman, Friesen and Hager, FACS Investigator's
# Guide (2002), table 10-1, joined with the units that most people used for each expression in Du, Tao
# and Martinez, Compound facial expressions of emotion (PNAS 2014), table 1. Contempt: the one-sided
# 12 and 14 of Ekman and Friesen, A new pan-cultural facial expression of emotion (1986).
_ALL = (
    ActionUnit(1, "inner brow raiser", (_SA, _F, _SU)),
    ActionUnit(2, "outer brow raiser", (_SU, _F)),
    ActionUnit(4, "brow lowerer", (_A, _SA, _F, _D)),
    ActionUnit(5, "upper lid raiser", (_SU, _F, _A)),
    ActionUnit(6, "cheek raiser", (_H,)),
    ActionUnit(7, "lid tightener", (_A, _D)),
    ActionUnit(9, "nose wrinkler", (_D,)),
    ActionUnit(10, "upper lip raiser", (_D, _A)),
    ActionUnit(12, "lip corner puller", (_H,), sided=True),
    ActionUnit(14, "dimpler", (), sided=True),
    ActionUnit(15, "lip corner depressor", (_SA, _D)),
    ActionUnit(16, "lower lip depressor", (_D,)),
    ActionUnit(17, "chin raiser", (_SA, _D, _A)),
    ActionUnit(18, "lip pucker", ()),
    ActionUnit(20, "lip stretcher", (_F,)),
    ActionUnit(22, "lip funneler", ()),
    ActionUnit(23, "lip tightener", (_A,)),
    ActionUnit(24, "lip pressor", (_A,)),
    ActionUnit(25, "lips part", (_H, _SU, _F)),
    ActionUnit(26, "jaw drop", (_SU, _F)),
    ActionUnit(27, "mouth stretch", (_SU, _F)),
    ActionUnit(28, "lip suck", ()),
    ActionUnit(43, "eyes closed", ()),
)

ACTION_UNITS: dict[int, ActionUnit] = {unit.number: unit for unit in _ALL}
"""Every action unit of the table, by FACS number, in the table's order."""

ONE_SIDED: dict[int, tuple[Expression, ...]] = {12: (_C,), 14: (_C,)}
"""What a movement is associated with when only one side shows it."""


def _columns(unit: ActionUnit) -> tuple[str, ...]:
    sides = (f"{unit.column}_left", f"{unit.column}_right")
    if unit.number == 14:  # the published table has the dimpler by side only
        return sides
    return (unit.column, *sides) if unit.sided else (unit.column,)


COLUMNS: tuple[str, ...] = tuple(column for unit in _ALL for column in _columns(unit))
"""The fields of the table's action_units struct, in order."""

_OTHER_SIDE = {"left": "right", "right": "left"}


def _mirrored(column: str) -> str:
    name, _, side = column.partition("_")
    return f"{name}_{_OTHER_SIDE[side]}" if side else name


MIRRORED_COLUMNS = [COLUMNS.index(_mirrored(column)) for column in COLUMNS]
"""For each place in COLUMNS, the place of the same movement on a mirrored face."""


def associated(number: int, side: Side) -> tuple[Expression, ...]:
    """The expressions a movement is associated with, given the side that shows it."""
    if side is not Side.BOTH and number in ONE_SIDED:
        return ONE_SIDED[number]
    return ACTION_UNITS[number].associated


@dataclass(frozen=True)
class Movement:
    """One action unit as it stands on one face: which side shows it, and how much."""

    number: int
    side: Side
    intensity: float


def movements(intensities: Intensities, at_least: float = NAMED_FROM) -> tuple[Movement, ...]:
    """Read the movements that are there out of the table's columns, in the table's order.

    A sided unit whose sides differ by ONE_SIDED_FROM counts for its stronger side alone.
    A face at rest gives none; a column that cannot be measured gives none.
    """
    found = (_movement(unit, intensities) for unit in _ALL)
    return tuple(m for m in found if m is not None and m.intensity >= at_least)


def _movement(unit: ActionUnit, intensities: Intensities) -> Movement | None:
    if unit.sided:
        left = intensities.get(f"{unit.column}_left")
        right = intensities.get(f"{unit.column}_right")
        if left is not None and right is not None:
            return _sided(unit.number, left, right)
    value = intensities.get(unit.column)
    return None if value is None else Movement(unit.number, Side.BOTH, value)


def _sided(number: int, left: float, right: float) -> Movement:
    if abs(left - right) < ONE_SIDED_FROM:
        return Movement(number, Side.BOTH, (left + right) / 2)
    return Movement(number, Side.LEFT, left) if left > right else Movement(number, Side.RIGHT, right)
