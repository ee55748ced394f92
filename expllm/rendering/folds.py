"""Turns action units into the folds they press into the skin, as a map over the front of the face."""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float32

from expllm.rendering.head import Points

Folds = Float32[np.ndarray, "256 256 3"]
"""Darkness 0..1, and how far the surface's normal tips in x and y."""

_SIZE_PX = 256
_LEFT, _RIGHT, _BOTTOM, _TOP = -0.85, 0.85, 6.0, 8.3
"""The part of the resting mesh, seen from the front, that the map covers."""
_DARKNESS, _TIPPING = 0.4, 0.55
"""Darkness and tipping of the normal of a fold of depth 1 at full intensity."""
_AGE_DEPTH = {"young": 0.6, "middle": 0.9, "old": 1.2}
_AGE_LINES = {"young": 0.0, "middle": 0.08, "old": 0.2}
"""How much of the common folds stays in the skin at rest."""
_LASTING = ("au01", "au12", "au15")

Line = tuple[float, float, tuple[tuple[float, float], ...]]
"""Depth, half width in mesh units, and the points of a fold on the person's left or across the middle."""

_NASOLABIAL = ((0.17, 6.93), (0.25, 6.85), (0.33, 6.72), (0.36, 6.58))
_LINES: dict[str, tuple[Line, ...]] = {
    "au01": (
        (0.8, 0.016, ((-0.3, 7.78), (0.0, 7.75), (0.3, 7.78))),
        (0.7, 0.016, ((-0.25, 7.9), (0.0, 7.87), (0.25, 7.9))),
    ),
    "au02": (
        (0.7, 0.016, ((0.15, 7.81), (0.35, 7.84), (0.52, 7.76))),
        (0.6, 0.016, ((0.15, 7.93), (0.35, 7.95), (0.5, 7.88))),
    ),
    "au04": (
        (1.0, 0.016, ((0.07, 7.36), (0.06, 7.44), (0.07, 7.54))),
        (0.6, 0.015, ((-0.07, 7.33), (0.0, 7.31), (0.07, 7.33))),
    ),
    "au06": (
        (0.7, 0.012, ((0.5, 7.33), (0.62, 7.4))),
        (0.8, 0.012, ((0.5, 7.27), (0.64, 7.27))),
        (0.7, 0.012, ((0.48, 7.21), (0.6, 7.14))),
        (0.8, 0.016, ((0.17, 7.16), (0.3, 7.11), (0.44, 7.17))),
    ),
    "au07": ((0.8, 0.013, ((0.17, 7.19), (0.3, 7.15), (0.43, 7.2))),),
    "au09": (
        (0.9, 0.013, ((-0.09, 7.26), (0.0, 7.28), (0.09, 7.26))),
        (0.9, 0.013, ((-0.1, 7.19), (0.0, 7.21), (0.1, 7.19))),
        (0.8, 0.013, ((0.06, 7.2), (0.15, 7.08))),
        (0.8, 0.018, ((0.16, 6.97), (0.22, 6.9), (0.28, 6.8))),
    ),
    "au10": ((0.9, 0.02, _NASOLABIAL[:3]),),
    "au12": ((1.1, 0.02, _NASOLABIAL),),
    "au14": ((1.2, 0.022, ((0.34, 6.64), (0.35, 6.56))),),
    "au15": ((0.9, 0.018, ((0.29, 6.55), (0.33, 6.46), (0.33, 6.36))),),
    "au17": (
        (0.9, 0.02, ((-0.14, 6.38), (0.0, 6.41), (0.14, 6.38))),
        (0.4, 0.02, ((-0.06, 6.27), (0.06, 6.29))),
    ),
}


def positions(resting: Points) -> Float32[np.ndarray, "points 2"]:
    """Where each vertex of the resting mesh lies on the map, in its pixels; -1 behind the face."""
    x = (resting[:, 0] - _LEFT) / (_RIGHT - _LEFT) * _SIZE_PX
    y = (_TOP - resting[:, 1]) / (_TOP - _BOTTOM) * _SIZE_PX
    in_front = (resting[:, 2] > 0.75) & (resting[:, 1] > _BOTTOM)
    return np.where(in_front[:, None], np.stack([x, y], 1), -1).astype(np.float32)


def press(action_units: Mapping[str, float], age: str) -> Folds:
    """The folds of a face with these true action units; older skin folds deeper and keeps some at rest."""
    result = np.zeros((_SIZE_PX, _SIZE_PX, 3), np.float32)
    for (unit, side), folds in _maps().items():
        column = f"{unit}_{side}" if unit in ("au12", "au14") else unit
        depth = action_units[column] * _AGE_DEPTH[age] + (_AGE_LINES[age] if unit in _LASTING else 0.0)
        if depth > 0.03:
            result += np.float32(depth) * folds
    np.clip(result[..., 0], 0, 0.6, out=result[..., 0])
    return result


@cache
def _maps() -> dict[tuple[str, str], Folds]:
    """One map for each action unit and side."""
    return {
        (unit, side): sum(_map(line, sign) for line in lines)
        for unit, lines in _LINES.items()
        for side, sign in (("left", 1), ("right", -1))
    }


def _map(line: Line, sign: int) -> Folds:
    depth, width, points = line
    if points[0][0] < 0:  # a fold across the middle: half of it for each side
        depth /= 2
    y, x = np.mgrid[0:_SIZE_PX, 0:_SIZE_PX].astype(np.float32)
    x = (x + 0.5) / _SIZE_PX * (_RIGHT - _LEFT) + _LEFT
    y = _TOP - (y + 0.5) / _SIZE_PX * (_TOP - _BOTTOM)
    mirrored = [(sign * px, py) for px, py in points]
    distance = np.min([_distance(x, y, a, b) for a, b in pairwise(mirrored)], axis=0)
    height = -depth * np.exp(-((distance / width) ** 2) / 2)
    down, right = np.gradient(height)
    steepest = _SIZE_PX / (_RIGHT - _LEFT) / width * 0.6 * 1e-4 + np.abs(right).max() + np.abs(down).max()
    tip = _TIPPING * abs(depth) / steepest
    return np.stack([-_DARKNESS * height, -tip * right, tip * down], 2).astype(np.float32)


def _distance(
    x: Float32[np.ndarray, "h w"],
    y: Float32[np.ndarray, "h w"],
    a: tuple[float, float],
    b: tuple[float, float],
) -> Float32[np.ndarray, "h w"]:
    """Distance to the segment from a to b."""
    along = np.array(b) - np.array(a)
    share = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0, 1)
    return np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1])
