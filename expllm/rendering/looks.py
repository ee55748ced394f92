"""Draws what a person looks like beside the head's shape: skin, hair, brows, paint and folds of the skin."""

from functools import cache

import numpy as np

from expllm.rendering import head
from expllm.rendering.paint import BEARDS, Colour, Paint

_HAIR_COLOURS = {
    "black": (0.013, 0.011, 0.010),
    "dark brown": (0.035, 0.021, 0.014),
    "brown": (0.085, 0.048, 0.028),
    "blond": (0.36, 0.24, 0.12),
    "red": (0.20, 0.065, 0.025),
    "grey": (0.30, 0.29, 0.28),
}
_DYED_RATE = 0.06
_REDDENS = {"dark": 0.15, "medium": 0.5, "light": 1.0}
"""How much redness is seen on a skin."""
_SKIN_GAIN = {
    ("dark", "african"): (0.8, 1.6),
    ("medium", "african"): (1.7, 2.9),
    ("medium", "asian"): (0.34, 0.58),
    ("medium", "caucasian"): (0.34, 0.58),
}
_LIGHT_GAIN = (0.6, 0.98)
_RUDDY = {
    ("medium", "african"): 0.74,
    ("dark", "african"): 0.88,
    ("light", "asian"): 1.0,
    ("light", "caucasian"): 1.0,
}
"""Brightened dark skin looks redder than it is, dimmed light skin (the rest) greyer."""
_DIMMED_RUDDY = 1.06
_LASTING = {"au01": 0.5, "au02": 0.45, "au04": 0.3, "au06": 0.45, "au07": 0.55, "au12": 0.6, "au15": 0.5}
"""How deep the folds of a movement stay in the oldest skin at rest."""
_LIPSTICKS = (
    (0.35, 0.03, 0.04),
    (0.45, 0.09, 0.1),
    (0.25, 0.05, 0.07),
    (0.5, 0.18, 0.14),
    (0.18, 0.02, 0.05),
)
_SHADOWS = ((0.08, 0.05, 0.05), (0.1, 0.08, 0.16), (0.2, 0.1, 0.06), (0.05, 0.05, 0.06), (0.3, 0.15, 0.14))


def skin_gain(skin: str, family: str, rng: np.random.Generator) -> Colour:
    """Draw what the skin texture's linear colour is multiplied with."""
    gain = rng.uniform(*_SKIN_GAIN.get((skin, family), _LIGHT_GAIN))
    ruddy = _RUDDY.get((skin, family), _DIMMED_RUDDY)
    red, blue = ruddy + rng.normal(0, 0.05), 1 + rng.normal(0, 0.08)
    return float(gain * red), float(gain), float(gain * blue)


def skin_texture(age: str, family: str, sex: str, rng: np.random.Generator) -> str:
    """Draw the file of a skin."""
    start = f"skin_{'middleage' if age == 'middle' else age}_{family}_{sex}_"
    return str(rng.choice([name for name in _skin_files() if name.startswith(start)]))


@cache
def _skin_files() -> tuple[str, ...]:
    return tuple(sorted(path.name for path in (head.folder() / "textures").glob("skin_*.jpg")))


def hair_colour(family: str, age: str, rng: np.random.Generator) -> Colour:
    """Draw the linear colour of the hair."""
    if age == "old" and rng.random() < 0.7:
        name = "grey"
    elif family == "caucasian" or rng.random() < _DYED_RATE:
        name = str(rng.choice([name for name in _HAIR_COLOURS if name != "grey"]))
    else:
        name = str(rng.choice(["black", "black", "dark brown"]))
    gain = rng.uniform(0.7, 1.4)
    red, green, blue = (gain * channel * (1 + rng.normal(0, 0.06)) for channel in _HAIR_COLOURS[name])
    return float(red), float(green), float(blue)


def brow_colour(hair: Colour) -> Colour:
    """Brows are darker than the hair."""
    red, green, blue = (min(0.6 * channel, 0.09) for channel in hair)
    return red, green, blue


def cloth_colour(rng: np.random.Generator) -> Colour:
    """Draw the linear colour of a garment or a hat."""
    red, green, blue = np.clip(rng.uniform(0.02, 0.6) * (1 + rng.normal(0, 0.3, 3)), 0.01, 0.85)
    return float(red), float(green), float(blue)


def lasting_folds(years: float, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Draw the folds that stay in the skin at rest; `years` is 0 (young) to 1 (old)."""
    drawn = {unit: float(most * max(years - 0.1, 0) * rng.uniform(0, 1.5)) for unit, most in _LASTING.items()}
    return tuple((unit, depth) for unit, depth in drawn.items() if depth > 0.04)


def sample_paint(
    seed: int, sex: str, skin: str, years: float, hair: Colour, rng: np.random.Generator
) -> Paint:
    """Draw make-up for some women, a beard for some men, a fringe, and the skin's own spots."""
    drawn = {
        "freckles": _some(rng, 0.15, 0.3, 0.9),
        "ruddiness": _some(rng, 0.6, 0.1, 0.8) * _REDDENS[skin],
        "tired": _some(rng, 0.5, 0.1, 0.45 + 0.4 * years),
        "fringe": _some(rng, 0.22 if sex == "female" else 0.1, 0.3, 0.95),
    }
    drawn |= _make_up(skin, rng) if sex == "female" else _beard(rng)
    return Paint(seed=seed, hair_colour=hair, **drawn)


def _make_up(skin: str, rng: np.random.Generator) -> dict[str, float | Colour]:
    return {
        "lipstick": _some(rng, 0.5, 0.25, 0.85),
        "lip_colour": _LIPSTICKS[rng.integers(len(_LIPSTICKS))],
        "eye_shadow": _some(rng, 0.35, 0.15, 0.6),
        "shadow_colour": _SHADOWS[rng.integers(len(_SHADOWS))],
        "eyeliner": _some(rng, 0.35, 0.3, 0.9),
        "blush": _some(rng, 0.35, 0.2, 0.8) * _REDDENS[skin],
    }


def _beard(rng: np.random.Generator) -> dict[str, float | str]:
    if rng.random() < 0.45:
        return {}
    kind = str(rng.choice(BEARDS, p=(0.45, 0.15, 0.17, 0.23)))
    low, high = (0.15, 0.5) if kind == "stubble" else (0.65, 1.0)
    return {"beard": kind, "beard_density": float(rng.uniform(low, high))}


def _some(rng: np.random.Generator, rate: float, low: float, high: float) -> float:
    """A share from low to high with this rate, else 0."""
    value = float(rng.uniform(low, high))
    return value if rng.random() < rate else 0.0
