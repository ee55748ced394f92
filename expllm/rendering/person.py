"""Turns a seed into a person: the shape of the head, skin, eyes, brows, hair, and what is worn."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from expllm.rendering import glasses, headwear, looks, shapes
from expllm.rendering.folds import NUM_PATTERNS
from expllm.rendering.glasses import Glasses
from expllm.rendering.paint import Colour, Paint
from expllm.rendering.shapes import Weights

_TONES = ("dark", "medium", "light")
_EYES = ("brown", "brownlight", "brownlight", "blue", "bluegreen", "deepblue", "green", "grey", "lightblue")
_BROWS = tuple(f"brow{number:02d}" for number in (4, 4, 5, 5, 8, 8, 8, 9, 9, 10, 12, 12))
"""The packed brows without those that look cross at rest (1, 2, 3, 6, 7, 11); the plainest more often."""
_HAIR = {
    "female": (
        "hair_long01",
        "hair_ponytail01",
        "hair_short01",
        "hair_long01",
        "hair_ponytail01",
        "hair_short02",
    ),
    "male": ("hair_short02", "hair_short04", "hair_short01", "hair_short02", "hair_short04", "", ""),
}


@dataclass(frozen=True)
class Person:
    """Everything about a person that stays the same from picture to picture."""

    seed: int
    sex: str
    age: str
    skin: str
    """How dark the skin is: dark, medium or light."""
    shape: Weights
    """Identity deltas of the head and their weights."""
    rest: Weights
    """Movements of the rig that belong to the face at rest; they are no action units."""
    smile: Weights
    """Movements of the rig that go along with the lip corners; see `rig.smiling`."""
    skin_texture: str
    skin_gain: Colour
    lasting_folds: tuple[tuple[str, float], ...]
    """Action unit -> how deep its folds stay at rest."""
    fold_depth: float
    fold_pattern: int
    paint: Paint
    eye: str
    brow: str
    brow_colour: Colour
    brow_density: float
    brow_thickness: float
    hair: str
    """Name of the hair part; empty for none."""
    hair_colour: Colour
    is_hair_mirrored: bool
    glasses: Glasses | None
    headwear: str
    """Name of what covers the hair; empty for nothing."""
    headwear_colour: Colour
    garment_colour: Colour
    asymmetry: float
    """Share by which the left side of the face moves more than the right."""

    @classmethod
    def sample(cls, seed: int) -> Self:
        """Draw a person; the same seed gives the same person."""
        rng = np.random.default_rng([seed, 1])
        sex = ("female", "male")[rng.integers(2)]
        years = float(np.clip(rng.beta(0.9, 1.6), 0, 0.95))
        age = "young" if years < 0.33 else "middle" if years < 0.66 else "old"
        skin = _TONES[rng.integers(3)]
        family = _family(skin, rng)
        hair_colour = looks.hair_colour(family, age, rng)
        worn = headwear.sample(sex, rng)
        return cls(
            seed=seed,
            sex=sex,
            age=age,
            skin=skin,
            shape=shapes.sample_shape(sex, years, family, rng),
            rest=shapes.sample_rest(rng),
            smile=shapes.sample_smile(np.random.default_rng([seed, 6])),
            skin_texture=looks.skin_texture(age, family, sex, rng),
            skin_gain=looks.skin_gain(skin, family, rng),
            lasting_folds=looks.lasting_folds(years, rng),
            fold_depth=float(rng.uniform(0.55, 1.0) + 0.4 * years),
            fold_pattern=int(rng.integers(NUM_PATTERNS)),
            paint=looks.sample_paint(seed, sex, skin, years, hair_colour, rng),
            eye=str(rng.choice(_EYES)) if family == "caucasian" else "brown",
            brow=str(rng.choice(_BROWS)),
            brow_colour=looks.brow_colour(hair_colour),
            brow_density=float(rng.uniform(0.45, 1.15)),
            brow_thickness=float(rng.uniform(0.7, 1.35)),
            hair="" if worn else _hair(sex, family, rng),
            hair_colour=hair_colour,
            is_hair_mirrored=bool(rng.random() < 0.5),
            glasses=glasses.sample(rng),
            headwear=worn,
            headwear_colour=looks.cloth_colour(rng),
            garment_colour=looks.cloth_colour(rng),
            asymmetry=float(np.clip(rng.normal(0, 0.03), -0.06, 0.06)),
        )


def _family(skin: str, rng: np.random.Generator) -> str:
    if skin == "dark":
        return "african"
    return str(rng.choice(("african", "asian", "caucasian") if skin == "medium" else ("asian", "caucasian")))


def _hair(sex: str, family: str, rng: np.random.Generator) -> str:
    if family == "african" and rng.random() < 0.3:
        return "hair_afro01"
    return str(rng.choice(_HAIR[sex]))
