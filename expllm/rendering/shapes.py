"""Draws the shape of a head: what age, sex and origin make of it, its own features, and how it rests."""

import re
from functools import cache, lru_cache

import numpy as np

from expllm.rendering import head, rig

Weights = tuple[tuple[str, float], ...]
"""Names of deltas and their weights; hashable, so that shapes can be kept."""

FAMILIES = ("african", "asian", "caucasian")
_OPPOSITES = (
    ("-decr", "-incr"),
    ("-down", "-up"),
    ("-in", "-out"),
    ("-backward", "-forward"),
    ("-compress", "-uncompress"),
    ("-concave", "-convex"),
)
_SPREAD = {"eyebrows": 0.4, "mouth": 0.26, "eyes": 0.28, "ears": 0.18}
_COMMON_SPREAD, _FEATURE_RATE, _MOST = 0.23, 0.75, 0.85
"""Standard deviation of a feature's weight, the share of features that differ from the average, a bound."""
_CENTRES = {
    "id/head/head-fat-decr": 0.3,
    "id/chin/chin-height-decr": 0.4,
    "id/nose/nose-scale-vert-decr": -0.4,
    "id/nose/nose-base-down": 0.25,
    "id/mouth/mouth-lowerlip-height-decr": -0.15,
    "id/mouth/mouth-scale-horiz-decr": -0.3,
}
"""Where measured people differ from the packed head on average."""
_CLOSED = -0.018
"""The lip gap of every face at rest, in mesh units: just closed, so that lips which part are seen to."""
_CLOSING_STEPS = 3


@lru_cache(maxsize=8)
def resting_vertices(shape: Weights, rest: Weights) -> head.Points:
    """The vertices of a person's head at rest, the lips just closed; not to be written to."""
    loaded = head.load()
    shaped = head.moved(loaded.vertices, loaded.identities, dict(shape))
    resting = head.moved(shaped, loaded.movements, dict(rest))
    for _ in range(_CLOSING_STEPS):  # which points of the lips are nearest changes with the gap
        resting = head.moved(resting, loaded.movements, _closing(rig.lip_gap(resting) - _CLOSED))
    return resting


def _closing(gap: float) -> dict[str, float]:
    """Movements that bring the lips together by `gap`; 0.043 is what they do at weight 1."""
    return {
        f"{lip}{side}": -gap / 0.086
        for lip in ("mouthLowerDown", "mouthUpperUp")
        for side in ("Left", "Right")
    }


def sample_shape(sex: str, years: float, family: str, rng: np.random.Generator) -> Weights:
    """Draw the identity deltas of a head; `years` is 0 (young) to 1 (old)."""
    return tuple((_macro_shape(sex, years, family, rng) | _detail_shape(rng)).items())


def sample_rest(rng: np.random.Generator) -> Weights:
    """Draw how a face rests: movements of the rig that belong to who it is, and are no action units."""
    lift, arch, opening = rng.normal(0.62, 0.3), rng.normal(0, 0.18), rng.normal(0.1, 0.16)
    corner, slant = rng.normal(-0.05, 0.24), rng.normal(0.12, 0.14)
    result = {
        "browInnerUp": lift + slant,
        "mouthShrugLower": float(np.clip(rng.normal(0.12, 0.2), 0, 0.5)),
        "mouthPucker": rng.normal(0, 0.12),
        "mouthRollLower": max(rng.normal(-0.1, 0.12), 0.0),
        "jawForward": rng.normal(0, 0.15),
        "cheekPuff": rng.normal(0.03, 0.08),
    }
    both_sides = {
        "browOuterUp": 0.85 * lift - 0.6 * slant,
        "browDown": -arch,
        "eyeWide": max(opening, 0.0),
        "eyeSquint": max(-0.55 * opening, 0.0),
        "eyeBlink": max(-0.25 * opening, 0.0) + max(rng.normal(0.03, 0.05), 0.0),
        "mouthFrown": max(-0.8 * corner, 0.0),
        "mouthSmile": max(0.65 * corner, 0.0),
        "mouthPress": max(rng.normal(0.05, 0.12), -0.08),
    }
    for name, weight in both_sides.items():
        uneven = rng.normal(0, 0.05)
        result |= {f"{name}Left": weight + uneven, f"{name}Right": weight - uneven}
    return tuple((name, float(np.clip(weight, -1, 1.6))) for name, weight in result.items() if weight)


def sample_smile(rng: np.random.Generator) -> Weights:
    """Draw what goes along with a person's lip corners: upper lip, wings of the nose, lower lids."""
    ranges = {
        "mouthUpperUp": (0.1, 0.55),
        "noseSneer": (0, 0.3),
        "mouthDimple": (0, 0.4),
        "eyeSquint": (0, 0.15),
    }
    return tuple((name, float(rng.uniform(*range_))) for name, range_ in ranges.items())


def _macro_shape(sex: str, years: float, family: str, rng: np.random.Generator) -> dict[str, float]:
    maleness = float(np.clip((0.93 if sex == "male" else 0.07) + rng.normal(0, 0.08), 0, 1))
    origins = rng.dirichlet([0.5] * 3) * 0.4
    origins[FAMILIES.index(family)] += 0.6
    weight = float(np.clip(rng.normal(0.08, 0.42), -0.8, 0.95))
    build = "maxweight" if weight > 0 else "minweight"
    result: dict[str, float] = {}
    for gender, by_gender in (("female", 1 - maleness), ("male", maleness)):
        for age, by_age in (("young", 1 - years), ("old", years)):
            share = by_gender * by_age
            for origin, by_origin in zip(FAMILIES, origins, strict=True):
                result[f"mac/{origin}-{gender}-{age}"] = share * float(by_origin)
            result[f"mac/universal-{gender}-{age}-{build}"] = share * abs(weight)
    return result


def _detail_shape(rng: np.random.Generator) -> dict[str, float]:
    """Random features, the same on both sides of the face."""
    drawn: dict[str, float] = {}
    result: dict[str, float] = {}
    for less, more in _opposites():
        both_sides = re.sub("/[lr]-", "/", less)
        if both_sides not in drawn:
            spread = _SPREAD.get(less.split("/")[1], _COMMON_SPREAD) * (rng.random() < _FEATURE_RATE)
            drawn[both_sides] = float(np.clip(rng.normal(_CENTRES.get(less, 0.0), spread), -_MOST, _MOST))
        weight = drawn[both_sides]
        if abs(weight) > 0.03:
            result[more if weight > 0 else less] = abs(weight)
    return result


@cache
def _opposites() -> tuple[tuple[str, str], ...]:
    names = {name for name in head.load().identities if name.startswith("id/")}
    return tuple(
        (name, name.removesuffix(less) + more)
        for name in sorted(names)
        for less, more in _OPPOSITES
        if name.endswith(less) and name.removesuffix(less) + more in names
    )
