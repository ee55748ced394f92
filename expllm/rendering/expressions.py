"""Draws the action units of a face that shows an expression: recipes, variants and movements at rest."""

from dataclasses import dataclass

import numpy as np

from expllm.expressions import Expression

Recipe = dict[str, float]

# EMFACS-like: Ekman, Friesen and Hager, FACS Investigator's Guide (2002), table 10-1, with the
# intensities at which this head shows the expression most plainly.
_RECIPES: dict[Expression, tuple[Recipe, ...]] = {
    Expression.NEUTRAL: ({},),
    Expression.HAPPINESS: (
        {"au06": 0.9, "au12": 1.0, "au25": 1.0, "au26": 0.35},
        {"au06": 1.0, "au12": 1.0, "au25": 1.0, "au26": 0.8},
        {"au06": 0.7, "au12": 0.85},
    ),
    Expression.SADNESS: (
        {"au01": 1.0, "au04": 0.15, "au15": 1.0, "au17": 0.6, "au43": 0.2},
        {"au01": 1.0, "au15": 0.85, "au43": 0.3},
    ),
    Expression.SURPRISE: (
        {"au01": 1.0, "au02": 1.0, "au05": 1.0, "au25": 0.3, "au26": 1.0},
        {"au01": 1.0, "au02": 0.9, "au05": 0.9, "au27": 0.85},
    ),
    Expression.FEAR: (
        {"au01": 1.0, "au02": 0.45, "au04": 0.25, "au05": 1.0, "au20": 1.0, "au25": 1.0, "au26": 0.5},
        {"au01": 1.0, "au02": 0.3, "au04": 0.25, "au05": 0.9, "au07": 0.3, "au20": 0.9, "au25": 0.8},
    ),
    Expression.DISGUST: (
        {"au04": 0.5, "au06": 0.3, "au07": 0.5, "au09": 1.0, "au10": 0.9, "au15": 0.35, "au17": 0.5},
        {"au04": 0.4, "au07": 0.4, "au09": 0.9, "au10": 1.0, "au16": 0.4, "au25": 0.5},
    ),
    Expression.ANGER: (
        {"au04": 1.0, "au05": 0.25, "au07": 0.9, "au17": 0.4, "au23": 0.9, "au24": 0.3},
        {
            "au04": 1.0,
            "au05": 0.25,
            "au07": 0.9,
            "au10": 0.6,
            "au16": 0.4,
            "au23": 0.5,
            "au25": 0.8,
            "au26": 0.2,
        },
    ),
    Expression.CONTEMPT: ({"au12": 0.6, "au14": 0.9}, {"au12": 0.35, "au14": 1.0, "au17": 0.3}),
}
_ESSENTIAL: dict[Expression, frozenset[str]] = {
    Expression.NEUTRAL: frozenset(),
    Expression.HAPPINESS: frozenset({"au12"}),
    Expression.SADNESS: frozenset({"au01", "au15"}),
    Expression.SURPRISE: frozenset({"au01", "au02", "au26", "au27"}),
    Expression.FEAR: frozenset({"au01", "au05", "au20"}),
    Expression.DISGUST: frozenset({"au09", "au10"}),
    Expression.ANGER: frozenset({"au04", "au07"}),
    Expression.CONTEMPT: frozenset({"au12", "au14"}),
}
"""Units that are never dropped: without them the face would not show the expression."""

_DROP_RATE = 0.15
_RESTING = (
    "au01 au02 au04 au05 au06 au07 au09 au10 au12_left au12_right au14_left au14_right au15 au16 au17"
    " au18 au20 au22 au23 au24 au43"
).split()
"""Units that stir at rest; the jaw does not, since the least drop of it parts the lips."""
_PARTING = frozenset({"au10", "au16", "au18", "au22"})
"""Of these, units that part the lips and therefore stir half as much."""
_STIR_RATE, _STIR_SCALE, _STIR_MOST = 0.3, 0.06, 0.17


@dataclass(frozen=True)
class Prototype:
    """Action units of one face; `peak` is the largest intensity that was aimed at, 0 for neutral."""

    expression: Expression
    action_units: dict[str, float]
    peak: float


def sample(expression: Expression, seed: int) -> Prototype:
    """Draw action units that show an expression, from a quarter of its recipe's strength to all of it."""
    rng = np.random.default_rng([seed, 2, list(Expression).index(expression)])
    variants = _RECIPES[expression]
    recipe = variants[rng.integers(len(variants))]
    strength = rng.uniform(0.25, 0.6) if rng.random() < 0.3 else rng.uniform(0.6, 1.05)
    aimed = {
        unit: float(np.clip(intensity * strength * rng.uniform(0.85, 1.15), 0, 1))
        for unit, intensity in recipe.items()
        if unit in _ESSENTIAL[expression] or rng.random() >= _DROP_RATE
    }
    side = ("left", "right")[rng.integers(2)]
    if expression is Expression.CONTEMPT:
        aimed = {
            f"{unit}_{side}" if unit in ("au12", "au14") else unit: value for unit, value in aimed.items()
        }
    stirred = _stirred(rng)
    units = stirred | {unit: max(value, stirred.get(unit, 0.0)) for unit, value in _by_side(aimed).items()}
    return Prototype(expression, units, max(aimed.values(), default=0.0))


def _by_side(units: dict[str, float]) -> dict[str, float]:
    """The same units with a smile of both sides written as its two sides."""
    both = units.get("au12")
    rest = {unit: value for unit, value in units.items() if unit != "au12"}
    return rest if both is None else rest | {"au12_left": both, "au12_right": both}


def _stirred(rng: np.random.Generator) -> dict[str, float]:
    """Small movements of a face at rest: most below .1, a few up to .18."""
    return {
        unit: float(min(abs(rng.normal(0, _STIR_SCALE)), _STIR_MOST)) * (0.5 if unit in _PARTING else 1.0)
        for unit in _RESTING
        if rng.random() < _STIR_RATE
    }
