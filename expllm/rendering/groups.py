"""Renders several people in one picture, side by side and in rows, with the truth about every face."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from expllm.expressions import EXPRESSIONS
from expllm.rendering import expressions, pictures
from expllm.rendering.drawing import Layer
from expllm.rendering.expressions import Prototype
from expllm.rendering.person import Person
from expllm.rendering.render import Cutout, Truth, cut_out
from expllm.rendering.scene import Scene

_PEOPLE_A_ROW = 4
_FACE_SHARE, _FACE_CENTRE = 0.34, (0.5, 0.3)
"""Size and place of a face in its own square tile, which leaves room for hair and shoulders."""
_SLOT_WIDTH, _ROW_HEIGHT = 1.3, 1.55
"""Room for a face, in heights of the largest face."""
_SMALLEST = 0.55
"""Height of the smallest face, in heights of the largest."""


@dataclass(frozen=True, eq=False)
class GroupFace:
    """One person in a group picture; `truth` is in the group picture's pixels."""

    person: Person
    prototype: Prototype
    truth: Truth


@dataclass(frozen=True, eq=False)
class Group:
    """A picture of several people, its faces from the left."""

    pixels: UInt8[np.ndarray, "height width 3"]
    faces: tuple[GroupFace, ...]


def render_group(seed: int, count: int, largest_px: int = 110) -> Group:
    """Render `count` people of different sizes in one picture.

    Args:
        seed: The same seed gives the same picture.
        count: Number of people, at least 1.
        largest_px: Height of the largest possible face; the picture is as large as the people need.
    """
    rng = np.random.default_rng([seed, 6])
    scene = Scene.sample(seed)
    rows = [range(start, min(start + _PEOPLE_A_ROW, count)) for start in range(0, count, _PEOPLE_A_ROW)]
    width = round(min(count, _PEOPLE_A_ROW) * _SLOT_WIDTH * largest_px) + largest_px // 2
    height = round((len(rows) * _ROW_HEIGHT + 0.6) * largest_px)
    picture = np.zeros((height, width, 4), np.float32)
    faces = []
    for number, row in enumerate(rows):
        for place, i in enumerate(row):
            face_px = float(rng.uniform(_SMALLEST, 1)) * largest_px
            x = width / 2 + (place - (len(row) - 1) / 2 + rng.uniform(-0.06, 0.06)) * _SLOT_WIDTH * largest_px
            y = (number + 0.5 + rng.uniform(-0.04, 0.04)) * _ROW_HEIGHT * largest_px
            faces.append(_placed(picture, scene, seed * 64 + i, face_px, (float(x), float(y))))
    background = pictures.background(scene.background_seed, width, height)
    faces.sort(key=lambda face: face.truth.box_px[0] + face.truth.box_px[2])
    return Group(pictures.develop(picture, background, scene), tuple(faces))


def _placed(
    picture: Layer, light: Scene, seed: int, face_px: float, centre_px: tuple[float, float]
) -> GroupFace:
    """Lay a person over the picture, the middle of the face at the given place."""
    person = Person.sample(seed)
    prototype = expressions.sample(EXPRESSIONS[seed % len(EXPRESSIONS)], seed)
    own = Scene.sample(seed)
    scene = replace(
        light,
        yaw_deg=own.yaw_deg,
        pitch_deg=own.pitch_deg,
        roll_deg=own.roll_deg,
        gaze_left=own.gaze_left,
        gaze_up=own.gaze_up,
        face_share=_FACE_SHARE,
        centre=_FACE_CENTRE,
    )
    tile_px = round(face_px / _FACE_SHARE)
    cutout = cut_out(person, prototype.action_units, scene, tile_px)
    left, top = (round(c - share * tile_px) for c, share in zip(centre_px, _FACE_CENTRE, strict=True))
    _lay(picture, cutout.layer, left, top)
    return GroupFace(person, prototype, _shifted(cutout, left, top))


def _lay(picture: Layer, tile: Layer, left: int, top: int) -> None:
    """Lay the part of a tile that falls into the picture over it; its last row runs on to the bottom."""
    height, width = picture.shape[:2]
    x0, y0, x1 = max(left, 0), max(top, 0), min(left + tile.shape[1], width)
    below = np.repeat(tile[-1:], max(height - top - tile.shape[0], 0), axis=0)
    seen = np.concatenate([tile, below])[y0 - top : height - top, x0 - left : x1 - left]
    picture[y0:, x0:x1] = seen + picture[y0:, x0:x1] * (1 - seen[..., 3:])


def _shifted(cutout: Cutout, left: int, top: int) -> Truth:
    box = cutout.truth.box_px
    return replace(
        cutout.truth,
        box_px=(box[0] + left, box[1] + top, box[2] + left, box[3] + top),
        landmarks_px=cutout.truth.landmarks_px + np.array([left, top], np.float32),
    )
