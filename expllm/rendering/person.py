"""Turns a seed into a person: the shape of the head, skin, eyes, brows and hair."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Self

import numpy as np

from expllm.rendering import head

_OPPOSITES = (
    ("-decr", "-incr"),
    ("-down", "-up"),
    ("-in", "-out"),
    ("-backward", "-forward"),
    ("-compress", "-uncompress"),
    ("-concave", "-convex"),
)
_TONES = ("dark", "medium", "light")
_FAMILIES = ("african", "asian", "caucasian")
_EYES = ("brown", "brown", "brownlight", "blue", "green", "grey", "lightblue")
_BROWS = tuple(f"brow{number:02d}" for number in (1, 1, 4, 5, 8, 8, 9, 10, 12, 12))
"""The packed brows without those that look cross at rest (2, 3, 6, 7, 11); the plainest twice as often."""
_HAIR = {
    "female": ("hair_long01", "hair_ponytail01", "hair_short01", "hair_long01", "hair_short02"),
    "male": ("hair_short02", "hair_short04", "hair_short01", "hair_short02", ""),
}
_HAIR_COLOURS = {
    "black": (0.013, 0.011, 0.010),
    "dark brown": (0.035, 0.021, 0.014),
    "brown": (0.085, 0.048, 0.028),
    "blond": (0.36, 0.24, 0.12),
    "red": (0.20, 0.065, 0.025),
    "grey": (0.30, 0.29, 0.28),
}
_CALM = {"browInnerUp": 0.28}
"""Movements that belong to every face at rest: the packed head frowns a little."""


@dataclass(frozen=True)
class Person:
    """Everything about a person that stays the same from picture to picture."""

    seed: int
    sex: str
    age: str
    skin: str
    """How dark the skin is: dark, medium or light."""
    shape: tuple[tuple[str, float], ...]
    """Identity deltas of the head and their weights."""
    skin_texture: str
    skin_gain: tuple[float, float, float]
    eye: str
    brow: str
    hair: str
    """Name of the hair part; empty for none."""
    hair_colour: tuple[float, float, float]
    brow_colour: tuple[float, float, float]
    garment_colour: tuple[float, float, float]
    asymmetry: float
    """Share by which the left side of the face moves more than the right."""

    @classmethod
    def sample(cls, seed: int) -> Self:
        """Draw a person; the same seed gives the same person."""
        rng = np.random.default_rng([seed, 1])
        sex = ("female", "male")[rng.integers(2)]
        years = float(np.clip(rng.beta(0.9, 1.9), 0, 0.95))
        age = "young" if years < 0.33 else "middle" if years < 0.66 else "old"
        skin = _TONES[rng.integers(3)]
        family = _family(skin, rng)
        hair_colour = _hair_colour(family, age, rng)
        return cls(
            seed=seed,
            sex=sex,
            age=age,
            skin=skin,
            shape=tuple(_shape(sex, years, family, rng).items()),
            skin_texture=_skin_texture(age, family, sex, rng),
            skin_gain=_skin_gain(skin, family, rng),
            eye=str(rng.choice(_EYES)) if family == "caucasian" else "brown",
            brow=str(rng.choice(_BROWS)),
            hair="hair_afro01"
            if family == "african" and rng.random() < 0.35
            else str(rng.choice(_HAIR[sex])),
            hair_colour=hair_colour,
            brow_colour=_brow_colour(hair_colour),
            garment_colour=_garment_colour(rng),
            asymmetry=float(np.clip(rng.normal(0, 0.03), -0.06, 0.06)),
        )


@lru_cache(maxsize=8)
def resting_vertices(shape: tuple[tuple[str, float], ...]) -> head.Points:
    """The vertices of a person's head at rest; not to be written to."""
    loaded = head.load()
    shaped = head.moved(loaded.vertices, loaded.identities, dict(shape))
    return head.moved(shaped, loaded.movements, _CALM)


def _family(skin: str, rng: np.random.Generator) -> str:
    if skin == "dark":
        return "african"
    return str(rng.choice(("african", "asian", "caucasian") if skin == "medium" else ("asian", "caucasian")))


def _skin_gain(skin: str, family: str, rng: np.random.Generator) -> tuple[float, float, float]:
    low, high = {
        ("dark", "african"): (0.85, 1.5),
        ("medium", "african"): (1.8, 2.8),
        ("medium", "asian"): (0.36, 0.55),
        ("medium", "caucasian"): (0.36, 0.55),
    }.get((skin, family), (0.62, 0.95))
    gain = rng.uniform(low, high)
    # Brightened dark skin looks redder than it is, dimmed light skin greyer.
    ruddy = {("medium", "african"): 0.8, ("dark", "african"): 0.93, ("light", family): 1.0}.get(
        (skin, family), 1.06
    )
    red, blue = ruddy + rng.normal(0, 0.04), 1 + rng.normal(0, 0.06)
    return float(gain * red), float(gain), float(gain * blue)


def _skin_texture(age: str, family: str, sex: str, rng: np.random.Generator) -> str:
    start = f"skin_{'middleage' if age == 'middle' else age}_{family}_{sex}_"
    return str(rng.choice([name for name in _skin_files() if name.startswith(start)]))


@cache
def _skin_files() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in (head.folder() / "textures").glob("skin_*.jpg")))


def _hair_colour(family: str, age: str, rng: np.random.Generator) -> tuple[float, float, float]:
    if age == "old" and rng.random() < 0.75:
        name = "grey"
    elif family == "caucasian":
        name = str(rng.choice([name for name in _HAIR_COLOURS if name != "grey"]))
    else:
        name = str(rng.choice(["black", "black", "dark brown"]))
    gain = rng.uniform(0.75, 1.3)
    red, green, blue = _HAIR_COLOURS[name]
    return red * gain, green * gain, blue * gain


def _brow_colour(hair_colour: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = (min(0.6 * channel, 0.09) for channel in hair_colour)
    return red, green, blue


def _garment_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = np.clip(rng.uniform(0.02, 0.5) * (1 + rng.normal(0, 0.35, 3)), 0.01, 0.8)
    return float(red), float(green), float(blue)


def _shape(sex: str, years: float, family: str, rng: np.random.Generator) -> dict[str, float]:
    return _macro_shape(sex, years, family, rng) | _detail_shape(rng)


def _macro_shape(sex: str, years: float, family: str, rng: np.random.Generator) -> dict[str, float]:
    maleness = float(np.clip((0.95 if sex == "male" else 0.05) + rng.normal(0, 0.05), 0, 1))
    origins = rng.dirichlet([0.5] * 3) * 0.35
    origins[_FAMILIES.index(family)] += 0.65
    weight = float(np.clip(rng.normal(0, 0.35), -0.8, 0.9))
    build = "maxweight" if weight > 0 else "minweight"
    result: dict[str, float] = {}
    for gender, by_gender in (("female", 1 - maleness), ("male", maleness)):
        for age, by_age in (("young", 1 - years), ("old", years)):
            share = by_gender * by_age
            for origin, by_origin in zip(_FAMILIES, origins, strict=True):
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
            drawn[both_sides] = float(np.clip(rng.normal(0, 0.18), -0.8, 0.8)) * (rng.random() < 0.6)
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
