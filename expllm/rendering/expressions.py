"""Draws the action units of a face that shows an expression: recipes, variants and movements at rest."""

from dataclasses import dataclass, replace

import numpy as np

from expllm.expressions import Expression

Recipe = dict[str, float]

# EMFACS-like: Ekman, Friesen and Hager, FACS Investigator's Guide (2002), table 10-1, with the
# intensities at which this head shows the expression most plainly.
_RECIPES: dict[Expression, tuple[Recipe, ...]] = {
    Expression.NEUTRAL: ({},),
    Expression.HAPPINESS: (
        {"au06": 0.8, "au12": 0.95, "au25": 1.0, "au26": 0.4},
        {"au06": 1.0, "au12": 1.0, "au25": 0.9, "au26": 0.7},
        {"au06": 0.6, "au12": 0.95},
        {"au06": 0.8, "au07": 0.2, "au12": 0.95, "au25": 0.9},
        {"au06": 0.4, "au12": 0.9, "au25": 0.8, "au26": 0.3},
        {"au06": 0.25, "au12": 0.8},
        {"au12": 0.75, "au25": 0.4},
        {"au12": 0.85, "au25": 0.9},
    ),
    Expression.SADNESS: (
        {"au01": 1.0, "au04": 0.15, "au15": 1.0, "au17": 0.6, "au43": 0.2},
        {"au01": 1.0, "au15": 0.85, "au43": 0.3},
        {"au01": 0.9, "au04": 0.25, "au07": 0.25, "au15": 0.9, "au17": 0.8},
        {"au01": 0.9, "au04": 0.3, "au15": 1.0, "au17": 0.4, "au20": 0.25, "au25": 0.3},
    ),
    Expression.SURPRISE: (
        {"au01": 1.0, "au02": 1.0, "au05": 1.0, "au25": 0.3, "au26": 1.0},
        {"au01": 1.0, "au02": 0.9, "au05": 0.9, "au27": 0.85},
        {"au01": 1.0, "au02": 1.0, "au05": 1.0, "au25": 0.3, "au26": 0.85},
        {"au01": 0.9, "au02": 1.0, "au05": 0.8, "au25": 0.4, "au26": 0.9},
    ),
    Expression.FEAR: (
        {"au01": 1.0, "au02": 0.45, "au04": 0.25, "au05": 1.0, "au20": 1.0, "au25": 1.0, "au26": 0.6},
        {"au01": 1.0, "au02": 0.3, "au04": 0.25, "au05": 1.0, "au20": 1.0, "au25": 1.0, "au26": 0.3},
        {"au01": 1.0, "au02": 0.6, "au04": 0.3, "au05": 1.0, "au20": 0.9, "au25": 0.9, "au26": 0.9},
        {"au01": 1.0, "au04": 0.35, "au05": 1.0, "au20": 1.0, "au25": 0.9},
    ),
    Expression.DISGUST: (
        {"au04": 0.5, "au06": 0.3, "au07": 0.5, "au09": 1.0, "au10": 0.9, "au15": 0.35, "au17": 0.5},
        {"au04": 0.4, "au07": 0.4, "au09": 0.9, "au10": 1.0, "au16": 0.7, "au25": 0.5},
        {"au04": 0.35, "au06": 0.4, "au09": 1.0, "au10": 0.8, "au16": 0.7, "au25": 0.6, "au26": 0.35},
        {"au04": 0.4, "au07": 0.4, "au09": 1.0, "au10": 0.6, "au15": 0.5, "au17": 0.8},
    ),
    Expression.ANGER: (
        {"au04": 1.0, "au05": 0.5, "au07": 0.55, "au17": 0.5, "au23": 0.9, "au24": 0.35},
        {"au04": 1.0, "au05": 0.5, "au07": 0.5, "au10": 0.7, "au16": 0.5, "au25": 0.9, "au26": 0.25},
        {"au04": 1.0, "au05": 0.4, "au07": 0.7, "au15": 0.3, "au17": 0.4, "au23": 0.8, "au24": 0.4},
        {"au04": 1.0, "au05": 0.5, "au07": 0.5, "au10": 0.6, "au16": 0.5, "au25": 0.7, "au27": 0.6},
    ),
    Expression.CONTEMPT: (
        {"au12": 0.6, "au14": 0.9},
        {"au12": 0.35, "au14": 1.0, "au17": 0.3},
        {"au12": 0.5, "au14": 1.0, "au24": 0.15},
    ),
}
_ESSENTIAL: dict[Expression, frozenset[str]] = {
    Expression.NEUTRAL: frozenset(),
    Expression.HAPPINESS: frozenset({"au12"}),
    Expression.SADNESS: frozenset({"au01", "au15"}),
    Expression.SURPRISE: frozenset({"au01", "au02", "au26", "au27"}),
    Expression.FEAR: frozenset({"au01", "au05", "au20", "au25"}),
    Expression.DISGUST: frozenset({"au09", "au10"}),
    Expression.ANGER: frozenset({"au04", "au07"}),
    Expression.CONTEMPT: frozenset({"au12", "au14"}),
}
"""Units that are never dropped: without them the face would not show the expression."""

_SIDES = ("left", "right")
_DROP_RATE = 0.15
_STIRRING: dict[str, float] = {
    **dict.fromkeys(("au01", "au02", "au05", "au06", "au09", "au20", "au23", "au24"), 0.08),
    **dict.fromkeys(("au10", "au16", "au18", "au22", "au25"), 0.05),  # these part the lips together
    **dict.fromkeys(("au04", "au07", "au12", "au14", "au15", "au17"), 0.13),
    "au43": 0.1,
}
"""Units that stir at rest, and how far; the jaw does not, since the least drop of it parts the lips."""
_STIR_RATE = 0.5
_TWO_SIDED = ("au12", "au14")
_EYES_CLOSED = "au43"
STRAYS = ("au18", "au22", "au28", _EYES_CLOSED)
"""Movements that are part of no expression: of a mouth otherwise at rest, of eyes that are not widened."""
_STRAY_RATE = 0.2


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
    strength = rng.uniform(0.25, 0.65) if rng.random() < 0.2 else rng.uniform(0.65, 1.05)
    aimed = {
        unit: float(np.clip(intensity * strength * rng.uniform(0.85, 1.15), 0, 1))
        for unit, intensity in recipe.items()
        if unit in _ESSENTIAL[expression] or rng.random() >= _DROP_RATE
    }
    side = _SIDES[rng.integers(2)]
    if expression is Expression.CONTEMPT:
        aimed = {
            f"{unit}_{side}" if unit in ("au12", "au14") else unit: value for unit, value in aimed.items()
        }
    stirred = _stirred(rng) | _strayed(aimed, rng)
    units = stirred | {unit: max(value, stirred.get(unit, 0.0)) for unit, value in _by_side(aimed).items()}
    return Prototype(expression, units, max(aimed.values(), default=0.0))


def at_peak(prototype: Prototype, peak: float) -> Prototype:
    """The same movements in the same proportions, so that the strongest of those aimed at is `peak` (0..1).

    A face at rest stays as it is.
    """
    if prototype.expression is Expression.NEUTRAL:
        return prototype
    scale = peak / prototype.peak
    units = {unit: min(1.0, value * scale) for unit, value in prototype.action_units.items()}
    return replace(prototype, action_units=units, peak=peak)


def _by_side(units: dict[str, float]) -> dict[str, float]:
    """The same units with a smile of both sides written as its two sides."""
    both = units.get("au12")
    rest = {unit: value for unit, value in units.items() if unit != "au12"}
    return rest if both is None else rest | {"au12_left": both, "au12_right": both}


def _strayed(aimed: Recipe, rng: np.random.Generator) -> dict[str, float]:
    """At times one plain movement that says nothing of the expression, such as closed eyes."""
    unit = str(rng.choice(STRAYS))
    fits = "au05" not in aimed if unit == _EYES_CLOSED else not aimed
    return {unit: float(rng.uniform(0.3, 1))} if fits and rng.random() < _STRAY_RATE else {}


def _stirred(rng: np.random.Generator) -> dict[str, float]:
    """Small movements of a face at rest: most below .08, a few up to .13."""
    result: dict[str, float] = {}
    for unit, most in _STIRRING.items():
        if rng.random() < _STIR_RATE:
            value = min(abs(rng.normal(0, 0.5 * most)), most)
            if unit in _TWO_SIDED:
                result |= {f"{unit}_{side}": min(value * rng.uniform(0.6, 1.2), most) for side in _SIDES}
            else:
                result[unit] = value
    return result
