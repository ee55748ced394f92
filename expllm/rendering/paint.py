"""Paints what lies on the skin of the face: make-up, beards, a fringe, freckles, shadows under the eyes."""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw

from expllm.rendering import front

Colour = tuple[float, float, float]
Layer = Float32[np.ndarray, "256 256 4"]
"""Linear colour, premultiplied; alpha last."""

BEARDS = ("stubble", "moustache", "goatee", "full")
_LIPS_LEFT = (
    (0.0, 6.695), (0.052, 6.709), (0.15, 6.672), (0.25, 6.61), (0.13, 6.512), (0.07, 6.49), (0.0, 6.486),
)  # fmt: skip
_LASH_LINE = ((0.205, 7.278), (0.27, 7.325), (0.35, 7.335), (0.43, 7.295), (0.475, 7.315))
_DARK_SKIN: Colour = (0.10, 0.045, 0.035)
_REDNESS: Colour = (0.55, 0.12, 0.09)
_FINER = 4


@dataclass(frozen=True)
class Paint:
    """What covers a person's skin; shares are 0 (nothing) to 1 (opaque)."""

    seed: int
    """Where the strands and freckles are."""
    lipstick: float = 0.0
    lip_colour: Colour = (0.4, 0.05, 0.06)
    eye_shadow: float = 0.0
    shadow_colour: Colour = (0.1, 0.06, 0.08)
    eyeliner: float = 0.0
    blush: float = 0.0
    freckles: float = 0.0
    ruddiness: float = 0.0
    tired: float = 0.0
    """How dark it is under the eyes."""
    beard: str = ""
    """One of BEARDS; empty for none."""
    beard_density: float = 0.0
    hair_colour: Colour = (0.03, 0.02, 0.015)
    fringe: float = 0.0
    """How far hair falls over the forehead, 0 to 1 (the brows)."""


@lru_cache(maxsize=8)
def layer(paint: Paint) -> Layer:
    """The paint as a map over the front of the face; not to be written to."""
    result = np.zeros((front.SIZE_PX, front.SIZE_PX, 4), np.float32)
    rng = np.random.default_rng([paint.seed, 8])
    blotches, streaks = _noise(rng, 12, 12), _noise(rng, 44, 200)
    _cover(result, 0.45 * paint.ruddiness * np.clip(_cheeks() + _nose() + 0.3 * blotches, 0, 1), _REDNESS)
    _cover(result, 0.6 * paint.tired * _under_eyes(), _DARK_SKIN)
    _cover(result, 0.55 * paint.freckles * _freckles(rng), _DARK_SKIN)
    _cover(result, 0.5 * paint.blush * _cheeks(), _REDNESS)
    _cover(result, paint.eye_shadow * _lids(), paint.shadow_colour)
    _cover(result, paint.eyeliner * np.exp(-((_both_sides(_LASH_LINE) / 0.011) ** 2)), (0.01, 0.01, 0.01))
    if paint.beard:
        grown = _beard(paint.beard) * np.clip(0.85 + 0.25 * streaks, 0.3, 1.1)
        _cover(result, np.clip(paint.beard_density * grown, 0, 0.96), paint.hair_colour)
    _cover(result, paint.lipstick * _lips(), paint.lip_colour)
    if paint.fringe:
        shade = np.clip(1 + 0.3 * streaks, 0.5, 1.8)[..., None] * np.array(paint.hair_colour)
        _cover(result, _fringe(paint.fringe, streaks), shade)
    return result


def _cover(layer: Layer, alpha: front.Raster, colour: Colour | Float32[np.ndarray, "256 256 3"]) -> None:
    if not alpha.any():
        return
    alpha = alpha[..., None].astype(np.float32)
    layer *= 1 - alpha
    layer[..., :3] += alpha * np.asarray(colour, np.float32)
    layer[..., 3:] += alpha


def _noise(rng: np.random.Generator, rows: int, columns: int) -> front.Raster:
    """Soft noise around 0 with so many bumps from edge to edge."""
    bumps = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(bumps.resize((front.SIZE_PX, front.SIZE_PX), Image.Resampling.BICUBIC))


def _soft(distance: front.Raster, width: float) -> front.Raster:
    """1 where the distance is below 0, and 0 from `width` on."""
    return np.clip(0.5 - distance / width, 0, 1)


def _ellipse(x: float, y: float, width: float, height: float) -> front.Raster:
    """A soft spot on both sides of the face."""
    u, v = front.grid()
    return np.exp(-((((np.abs(u) - x) / width) ** 2) + ((v - y) / height) ** 2))


def _both_sides(left: front.Outline) -> front.Raster:
    return np.minimum(front.distance(left), front.distance(tuple((-x, y) for x, y in left)))


@cache
def _cheeks() -> front.Raster:
    return _ellipse(0.43, 6.95, 0.13, 0.11)


@cache
def _nose() -> front.Raster:
    return _ellipse(0.0, 6.95, 0.13, 0.09)


@cache
def _under_eyes() -> front.Raster:
    return _ellipse(0.29, 7.17, 0.13, 0.035)


@cache
def _lids() -> front.Raster:
    _, y = front.grid()
    return _ellipse(0.325, 7.36, 0.15, 0.06) * (y > 7.31)


@cache
def _lips() -> front.Raster:
    """The red of the lips."""
    outline = (*_LIPS_LEFT, *((-x, y) for x, y in reversed(_LIPS_LEFT)))
    points = front.pixels(np.array(outline)) * _FINER
    large = Image.new("L", (front.SIZE_PX * _FINER,) * 2)
    ImageDraw.Draw(large).polygon([tuple(point) for point in points.tolist()], fill=255)
    return np.asarray(large.reduce(_FINER), np.float32) / 255


def _freckles(rng: np.random.Generator) -> front.Raster:
    spots = (_noise(rng, 70, 60) > 1.4).astype(np.float32)
    return spots * np.clip(_ellipse(0.3, 7.02, 0.26, 0.16) + _nose(), 0, 1)


@cache
def _beard(kind: str) -> front.Raster:
    """Where a beard grows; it is thinner towards its edges."""
    x, y = front.grid()
    aside = np.abs(x)
    lip = np.abs(y - 6.745) - 0.035 + 0.12 * np.clip(aside - 0.2, 0, 1)
    moustache = _soft(np.maximum(lip, aside - 0.29), 0.05)
    cheek_line = 6.5 + 0.9 * np.clip(aside - 0.26, 0, 1) + 1.6 * np.clip(aside - 0.5, 0, 1)
    jaw = _soft(np.maximum(y - cheek_line, 6.08 - y), 0.12)
    chin = _soft(np.maximum(np.hypot(aside, 0.9 * (y - 6.34)) - 0.2, 6.1 - y), 0.08)
    around = _soft(np.abs(np.hypot(x / 0.33, (y - 6.58) / 0.24) - 1) - 0.14, 0.25) * (y < 6.76)
    grown = {
        "moustache": moustache,
        "goatee": np.maximum.reduce([moustache, chin, around]),
        "full": np.maximum.reduce([moustache, jaw, chin, around]),
        "stubble": np.maximum.reduce([moustache, jaw, chin, around]),
    }[kind]
    return grown * (1 - _lips()) * _soft(aside - 0.64, 0.1)


def _fringe(length: float, streaks: front.Raster) -> front.Raster:
    """Strands from the hairline down."""
    x, y = front.grid()
    lower = 7.98 - 0.4 * length + 0.12 * x * x + 0.035 * streaks
    return np.clip(_soft(lower - y, 0.05), 0, 1) * 0.97
