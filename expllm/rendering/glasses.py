"""Builds glasses onto a head at rest: a frame of tubes, and two lenses that catch the light."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32

from expllm.rendering import head
from expllm.rendering.landmarks import LANDMARKS
from expllm.rendering.paint import Colour

_RATE, _GLARE_RATE = 0.17, 0.3
_RIM_POINTS, _BRIDGE_POINTS, _TEMPLE_POINTS = 28, 7, 4
_LENS_TEXTURE_PX = 48
_LENS_ALPHA = 0.05
_FRAME_COLOURS = (
    (0.01, 0.01, 0.01),
    (0.06, 0.025, 0.012),
    (0.3, 0.27, 0.22),
    (0.02, 0.03, 0.08),
    (0.2, 0.02, 0.03),
)
_EAR_ABOVE_EYES, _EAR_BEHIND_EYES, _EAR_ASIDE = 0.04, 1.05, 0.03
"""Where a temple ends, beside the eyes' height and depth and the head's width, in mesh units."""


@dataclass(frozen=True)
class Glasses:
    """One pair of glasses; lengths in mesh units."""

    half_width: float
    half_height: float
    squareness: float
    """2 for an ellipse; more for squarer lenses."""
    thickness: float
    colour: Colour
    glare: float
    """Alpha of the light that the lenses catch."""
    glare_place: float


def sample(rng: np.random.Generator) -> Glasses | None:
    """Draw glasses, or none for most people."""
    glasses = Glasses(
        half_width=float(rng.uniform(0.2, 0.26)),
        half_height=float(rng.uniform(0.12, 0.21)),
        squareness=float(rng.uniform(2, 5)),
        thickness=float(rng.choice([rng.uniform(0.006, 0.01), rng.uniform(0.012, 0.024)])),
        colour=_FRAME_COLOURS[rng.integers(len(_FRAME_COLOURS))],
        glare=float(rng.uniform(0.1, 0.4)) * float(rng.random() < _GLARE_RATE),
        glare_place=float(rng.uniform(0.1, 0.9)),
    )
    return glasses if rng.random() < _RATE else None


def frame(glasses: Glasses | None, resting: head.Points) -> head.Points:
    """The points of the frame, in the order of `frame_triangles`; all in one place without glasses."""
    if glasses is None:
        return np.zeros((4 * sum(count for count, _ in _tubes()), 3), np.float32)
    rims = [_rim(glasses, resting, side) for side in (1, -1)]
    inner = [rim[np.argmin(np.abs(rim[:, 0]))] for rim in rims]
    bend = np.sin(np.linspace(0, np.pi, _BRIDGE_POINTS))[:, None] * np.array([0, 0.035, 0.03])
    bridge = np.linspace(inner[0], inner[1], _BRIDGE_POINTS) + bend
    y_axis, z_axis = np.array([0.0, 1, 0]), np.array([0.0, 0, 1])
    tubes = [_tube(rim, glasses.thickness, z_axis, True) for rim in rims]
    tubes.append(_tube(bridge, glasses.thickness, z_axis, False))
    for side, rim in zip((1, -1), rims, strict=True):
        hinge = rim[np.argmax(np.abs(rim[:, 0]) + 0.5 * rim[:, 1])]
        tubes.append(
            _tube(
                np.linspace(hinge, _ear(resting, hinge, side), _TEMPLE_POINTS),
                glasses.thickness,
                y_axis,
                False,
            )
        )
    return np.concatenate(tubes).astype(np.float32)


@cache
def frame_triangles() -> head.Triangles:
    """The triangles of the frame."""
    first, parts = 0, []
    for count, is_closed in _tubes():
        parts.append(first + _tube_triangles(count, is_closed))
        first += 4 * count
    return np.concatenate(parts).astype(np.int32)


def lenses(glasses: Glasses, resting: head.Points) -> head.Points:
    """The points of both lenses: the middle and the rim of each."""
    rims = [_rim(glasses, resting, side) for side in (1, -1)]
    return np.concatenate([np.concatenate([rim.mean(0, keepdims=True), rim]) for rim in rims]).astype(
        np.float32
    )


@cache
def lens_mesh() -> tuple[head.Triangles, head.TriangleUV]:
    """The triangles of both lenses, and where their corners lie on the lens texture."""
    edge = np.arange(_RIM_POINTS)
    fan = np.stack([np.zeros_like(edge), 1 + edge, 1 + (edge + 1) % _RIM_POINTS], 1)
    angle = 2 * np.pi * edge / _RIM_POINTS
    places = np.concatenate([[[0.5, 0.5]], 0.5 + 0.48 * np.stack([np.cos(angle), np.sin(angle)], 1)])
    triangles = np.concatenate([fan, fan + _RIM_POINTS + 1])
    return triangles.astype(np.int32), np.concatenate([places[fan]] * 2).astype(np.float32)


def lens_texture(glasses: Glasses) -> Float32[np.ndarray, "size size 4"]:
    """Faint everywhere, with a slanting stripe of glare."""
    y, x = np.mgrid[0:_LENS_TEXTURE_PX, 0:_LENS_TEXTURE_PX].astype(np.float32) / (_LENS_TEXTURE_PX - 1)
    stripe = np.exp(-(((x + 0.6 * y - 0.3 - glasses.glare_place) / 0.16) ** 2)) * (y < 0.75)
    alpha = _LENS_ALPHA + glasses.glare * stripe
    return np.stack([*[np.ones_like(x)] * 3, alpha], 2).astype(np.float32)


def _tubes() -> tuple[tuple[int, bool], ...]:
    """How many points the middle of each tube has, and whether it is a ring."""
    return (
        (_RIM_POINTS, True), (_RIM_POINTS, True), (_BRIDGE_POINTS, False),
        (_TEMPLE_POINTS, False), (_TEMPLE_POINTS, False),
    )  # fmt: skip


def _rim(glasses: Glasses, resting: head.Points, side: int) -> head.Points:
    """The edge of a lens, turned a little around the head; side is 1 for the left and -1 for the right."""
    name = "left" if side == 1 else "right"
    eye = resting[[LANDMARKS[f"eye {corner} corner {name}"] for corner in ("inner", "outer")]].mean(0)
    nose = resting[LANDMARKS["nose root"]]
    angle = 2 * np.pi * np.arange(_RIM_POINTS) / _RIM_POINTS
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (np.abs(cos) ** glasses.squareness + np.abs(sin) ** glasses.squareness) ** (
        -1 / glasses.squareness
    )
    # Around the other eye the rim runs the other way in x: both lenses are mirror images.
    x = eye[0] + side * glasses.half_width * radius * cos
    y = eye[1] - 0.02 + glasses.half_height * radius * sin
    z = nose[2] + 0.03 - 0.16 * np.maximum(np.abs(x) - 0.12, 0) - 0.05 * (eye[1] - y)
    return np.stack([x, y, z], 1)


def _ear(resting: head.Points, hinge: Float32[np.ndarray, "3"], side: int) -> Float32[np.ndarray, "3"]:
    """Where a temple that starts at `hinge` ends."""
    width = abs(resting[head.FIT_X[0], 0] - resting[head.FIT_X[1], 0])
    x = max(width / 2 + _EAR_ASIDE, abs(hinge[0]))
    eye = resting[list(head.EYES)].mean(0)
    return np.array([side * x, eye[1] + _EAR_ABOVE_EYES, eye[2] - _EAR_BEHIND_EYES])


def _tube(middle: head.Points, radius: float, axis: Float32[np.ndarray, "3"], is_closed: bool) -> head.Points:
    """Four points around each point of a line: along the axis, and across it."""
    if is_closed:
        along = np.roll(middle, -1, axis=0) - np.roll(middle, 1, axis=0)
    else:
        along = np.gradient(middle, axis=0)
    across = np.cross(along, axis)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.stack([middle + radius * d for d in (across, axis[None], -across, -axis[None])], 1).reshape(
        -1, 3
    )


def _tube_triangles(count: int, is_closed: bool) -> head.Triangles:
    start = np.arange(count if is_closed else count - 1)
    end = (start + 1) % count
    faces = []
    for corner in range(4):
        a, b = 4 * start + corner, 4 * start + (corner + 1) % 4
        c, d = 4 * end + corner, 4 * end + (corner + 1) % 4
        faces += [np.stack([a, c, b], 1), np.stack([b, c, d], 1)]
    return np.concatenate(faces)
