"""Lays a map over the front of the face, on which folds and paint are drawn; it moves with the skin."""

from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float32

from expllm.rendering.head import Points

SIZE_PX = 256
LEFT, RIGHT, BOTTOM, TOP = -0.85, 0.85, 6.0, 8.3
"""The part of the resting mesh, seen from the front, that the map covers."""
_BEHIND = 0.65
"""Skin further back than this is not on the map, in mesh units."""

Raster = Float32[np.ndarray, "256 256"]
Outline = tuple[tuple[float, float], ...]
"""x (to the person's left) and y of points on the resting mesh, in mesh units."""


def positions(resting: Points) -> Float32[np.ndarray, "points 2"]:
    """Where each vertex of the resting mesh lies on the map, in its pixels; -1 behind the face."""
    in_front = (resting[:, 2] > _BEHIND) & (resting[:, 1] > BOTTOM)
    return np.where(in_front[:, None], pixels(resting[:, :2]), -1).astype(np.float32)


def pixels(points: Float32[np.ndarray, "points 2"]) -> Float32[np.ndarray, "points 2"]:
    """x, y of the mesh in pixels of the map."""
    x = (points[:, 0] - LEFT) / (RIGHT - LEFT) * SIZE_PX
    y = (TOP - points[:, 1]) / (TOP - BOTTOM) * SIZE_PX
    return np.stack([x, y], 1)


@cache
def grid() -> tuple[Raster, Raster]:
    """x and y in mesh units of the middle of every pixel."""
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    return (x + 0.5) / SIZE_PX * (RIGHT - LEFT) + LEFT, TOP - (y + 0.5) / SIZE_PX * (TOP - BOTTOM)


def distance(outline: Outline) -> Raster:
    """How far every pixel is from a line through these points, in mesh units."""
    return np.min([_from_segment(a, b) for a, b in pairwise(outline)], axis=0)


def _from_segment(a: tuple[float, float], b: tuple[float, float]) -> Raster:
    x, y = grid()
    right, up = b[0] - a[0], b[1] - a[1]
    share = np.clip(((x - a[0]) * right + (y - a[1]) * up) / (right * right + up * up), 0, 1)
    return np.hypot(x - a[0] - share * right, y - a[1] - share * up)
