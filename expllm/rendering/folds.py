"""Turns action units into the folds they press into the skin, as a map over the front of the face."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import Float32

from expllm.rendering import front

Folds = Float32[np.ndarray, "256 256 3"]
"""Darkness 0..1, and how far the surface's normal tips in x and y."""
Patch = tuple[slice, slice, Float32[np.ndarray, "rows columns 3"]]
"""A part of the map and the folds on it."""

NUM_PATTERNS = 6
"""Skins fold along lines of their own: so many sets of lines there are."""
_STRAY, _DEPTH_RANGE = 0.011, (0.6, 1.3)
"""How far the lines of a set stray from the drawn ones, in mesh units, and how deep they are beside them."""
_DARKNESS, _TIPPING = 0.45, 0.68
"""Darkness and tipping of the normal of a fold of depth 1 at full intensity."""
_RIDGE, _RIDGE_WIDTH = 0.45, 2.2
"""The skin pushed up beside a fold: its height and width as shares of the fold's."""
_LEAST_DEPTH, _MOST_DARKNESS, _MOST_TIP = 0.06, 0.55, 0.85
_ONSET = 0.65
"""Skin folds early: the depth of a fold is this power of the intensity that presses it."""
_REACH = 7.0
"""Where a fold ends, in half widths from its line."""

Line = tuple[float, float, front.Outline]
"""Depth (negative for a bulge), half width in mesh units, and the points of a fold on the person's left
or across the middle."""

_NASOLABIAL = ((0.165, 6.95), (0.22, 6.89), (0.29, 6.79), (0.335, 6.68), (0.345, 6.57))
_LINES: dict[str, tuple[Line, ...]] = {
    "au01": (
        (0.9, 0.016, ((-0.3, 7.74), (-0.12, 7.71), (0.0, 7.7), (0.12, 7.71), (0.3, 7.74))),
        (1.0, 0.017, ((-0.32, 7.83), (-0.1, 7.79), (0.1, 7.79), (0.32, 7.83))),
        (0.8, 0.017, ((-0.25, 7.91), (0.0, 7.87), (0.25, 7.91))),
    ),
    "au02": (
        (0.7, 0.016, ((0.15, 7.75), (0.35, 7.78), (0.53, 7.7))),
        (0.8, 0.016, ((0.12, 7.84), (0.35, 7.87), (0.53, 7.79))),
        (0.6, 0.016, ((0.1, 7.93), (0.35, 7.95), (0.5, 7.89))),
    ),
    "au04": (
        (1.1, 0.019, ((0.058, 7.36), (0.05, 7.43), (0.064, 7.53))),
        (0.4, 0.016, ((0.02, 7.4), (0.026, 7.48))),
        (0.6, 0.016, ((-0.07, 7.32), (0.0, 7.3), (0.07, 7.32))),
        (-0.9, 0.035, ((0.1, 7.43), (0.18, 7.44))),
    ),
    "au06": (
        (0.9, 0.012, ((0.49, 7.33), (0.58, 7.37), (0.65, 7.43))),
        (1.0, 0.012, ((0.49, 7.28), (0.58, 7.28), (0.67, 7.29))),
        (0.9, 0.012, ((0.48, 7.23), (0.55, 7.18), (0.62, 7.12))),
        (1.0, 0.015, ((0.17, 7.17), (0.26, 7.12), (0.36, 7.12), (0.45, 7.17))),
        (-0.9, 0.03, ((0.2, 7.2), (0.31, 7.175), (0.42, 7.2))),
        (-1.0, 0.075, ((0.3, 7.02), (0.45, 7.03))),
    ),
    "au07": (
        (0.9, 0.012, ((0.18, 7.2), (0.26, 7.165), (0.36, 7.165), (0.43, 7.2))),
        (-0.5, 0.02, ((0.22, 7.22), (0.31, 7.205), (0.4, 7.22))),
    ),
    "au09": (
        (1.1, 0.012, ((-0.1, 7.26), (0.0, 7.285), (0.1, 7.26))),
        (1.1, 0.012, ((-0.11, 7.19), (0.0, 7.215), (0.11, 7.19))),
        (0.7, 0.012, ((-0.09, 7.12), (0.0, 7.14), (0.09, 7.12))),
        (0.9, 0.012, ((0.05, 7.2), (0.11, 7.13), (0.16, 7.05))),
        (0.8, 0.012, ((0.07, 7.28), (0.14, 7.2), (0.19, 7.12))),
        (1.1, 0.018, _NASOLABIAL[:3]),
    ),
    "au10": (
        (1.2, 0.019, _NASOLABIAL[:4]),
        (-0.7, 0.05, ((0.26, 6.93), (0.36, 6.83))),
    ),
    "au12": (
        (1.3, 0.018, _NASOLABIAL),
        (-1.2, 0.085, ((0.36, 6.97), (0.43, 6.88))),
        (0.6, 0.014, ((0.4, 6.72), (0.42, 6.62), (0.4, 6.54))),
    ),
    "au14": (
        (1.5, 0.02, ((0.32, 6.66), (0.33, 6.6), (0.32, 6.54))),
        (-0.7, 0.03, ((0.39, 6.64), (0.39, 6.56))),
    ),
    "au15": (
        (1.1, 0.017, ((0.28, 6.57), (0.325, 6.48), (0.33, 6.38))),
        (-0.6, 0.035, ((0.26, 6.47), (0.24, 6.4))),
    ),
    "au17": (
        (1.1, 0.018, ((-0.15, 6.39), (0.0, 6.42), (0.15, 6.39))),
        (0.6, 0.016, ((0.03, 6.31), (0.07, 6.27))),
        (0.5, 0.014, ((0.1, 6.33), (0.12, 6.29))),
    ),
    "au20": (
        (0.9, 0.016, ((0.33, 6.7), (0.36, 6.6), (0.34, 6.5))),
        (0.6, 0.014, ((0.4, 6.66), (0.42, 6.58))),
    ),
    "au23": ((0.6, 0.014, ((-0.16, 6.445), (0.0, 6.455), (0.16, 6.445))),),
    "au24": ((0.6, 0.016, ((0.28, 6.65), (0.3, 6.6), (0.28, 6.55))),),
}


def press(
    action_units: Mapping[str, float], lasting: Mapping[str, float], depth: float, pattern: int
) -> Folds:
    """The folds of a face.

    Args:
        action_units: The true action units by table column.
        lasting: Action unit -> how deep its folds stay in the skin at rest, 0..1.
        depth: How deep this skin folds; 1 is the common depth.
        pattern: Which of NUM_PATTERNS sets of lines the skin folds along.
    """
    result = np.zeros((front.SIZE_PX, front.SIZE_PX, 3), np.float32)
    for (unit, side), patches in _patches(pattern).items():
        column = f"{unit}_{side}" if unit in ("au12", "au14") else unit
        pressed = np.float32(action_units[column] ** _ONSET * depth + lasting.get(unit, 0.0))
        if pressed > _LEAST_DEPTH:
            for rows, columns, fold in patches:
                result[rows, columns] += pressed * fold
    np.clip(result[..., 0], 0, _MOST_DARKNESS, out=result[..., 0])
    np.clip(result[..., 1:], -_MOST_TIP, _MOST_TIP, out=result[..., 1:])
    return result


@cache
def _patches(pattern: int) -> dict[tuple[str, str], tuple[Patch, ...]]:
    """The folds of each action unit and side."""
    rng = np.random.default_rng([pattern, 21])
    result: dict[tuple[str, str], tuple[Patch, ...]] = {}
    for unit, lines in _LINES.items():
        for side, sign in (("left", 1), ("right", -1)):
            result[unit, side] = tuple(_patch(_strayed(line, sign, rng)) for line in lines)
    return result


def _strayed(line: Line, sign: int, rng: np.random.Generator) -> Line:
    """A line of the left side (sign 1) or mirrored, moved and deepened at random."""
    depth, width, points = line
    if points[0][0] < 0:  # a fold across the middle: half of it for each side
        depth /= 2
    stray = rng.normal(0, _STRAY, (len(points), 2))
    moved = tuple(
        (sign * x + float(dx), y + float(dy)) for (x, y), (dx, dy) in zip(points, stray, strict=True)
    )
    return depth * float(rng.uniform(*_DEPTH_RANGE)), width, moved


def _patch(line: Line) -> Patch:
    depth, width, points = line
    distance = front.distance(points)
    rows, columns = (
        slice(int(near.min()), int(near.max()) + 1) for near in np.nonzero(distance < _REACH * width)
    )
    height = -depth * _profile(distance[rows, columns] / width, is_bulge=depth < 0)
    down, right = np.gradient(height)
    steepest = np.hypot(right, down).max() + 1e-6
    tip = _TIPPING * abs(depth) / steepest
    darkness = np.clip(-_DARKNESS * height, 0, 1) if depth > 0 else np.zeros_like(height)
    return rows, columns, np.stack([darkness, -tip * right, tip * down], 2).astype(np.float32)


def _profile(widths: Float32[np.ndarray, "h w"], is_bulge: bool) -> Float32[np.ndarray, "h w"]:
    """Depth of a fold so many half widths from its line: a groove between ridges, or a round bulge."""
    groove = np.exp(-(widths**2) / 2)
    return groove if is_bulge else groove - _RIDGE * np.exp(-((widths / _RIDGE_WIDTH) ** 2) / 2)
