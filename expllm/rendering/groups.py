"""Renders several people in one picture, in rows and partly hidden, with the truth about every face."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from expllm.expressions import EXPRESSIONS
from expllm.rendering import expressions, pictures
from expllm.rendering.drawing import Layer
from expllm.rendering.expressions import Prototype
from expllm.rendering.person import Person
from expllm.rendering.render import Cutout, Truth, cut_out
from expllm.rendering.scene import Scene

_FEWEST_A_ROW, _MOST_A_ROW = 3, 5
_FACE_SHARE, _FACE_CENTRE = 0.34, (0.5, 0.3)
"""Size and place of a face in its own square tile, which leaves room for hair and shoulders."""
_SLOT_WIDTH, _ROW_HEIGHT = (0.5, 1.15), (0.7, 1.3)
"""Room for a face, in heights of the largest face: the narrower, the more people hide one another."""
_SMALLEST, _BACK = 0.6, 0.8
"""Height of the smallest face of a row in heights of its largest, and of a row beside the row before it."""
_HIDING_ALPHA = 0.5


@dataclass(frozen=True, eq=False)
class GroupFace:
    """One person in a group picture; `truth` is in the group picture's pixels."""

    person: Person
    prototype: Prototype
    truth: Truth
    visible: float
    """Share of what the person shows inside the face's box that nobody in front hides."""


@dataclass(frozen=True, eq=False)
class Group:
    """A picture of several people, its faces from the left."""

    pixels: UInt8[np.ndarray, "height width 3"]
    faces: tuple[GroupFace, ...]


@dataclass(frozen=True)
class _Place:
    """Where one person of a group stands, in pixels of the picture."""

    face_px: float
    centre_px: tuple[float, float]


def render_group(seed: int, count: int, largest_px: int = 110) -> Group:
    """Render `count` people in one picture: in rows, the smaller ones behind, some partly hidden.

    Args:
        seed: The same seed gives the same picture.
        count: Number of people, at least 1.
        largest_px: Height of the largest possible face; the picture is as large as the people need.
    """
    scene = Scene.sample(seed)
    places, (width, height) = _places(np.random.default_rng([seed, 6]), count, largest_px)
    picture = np.zeros((height, width, 4), np.float32)
    seen = np.full((height, width), -1, np.int32)
    standing = []
    for number, place in enumerate(places):
        person_seed = seed * 64 + number
        prototype = expressions.sample(EXPRESSIONS[person_seed % len(EXPRESSIONS)], person_seed)
        own = np.zeros_like(picture)
        truth = _stand(own, scene, Person.sample(person_seed), prototype, place)
        picture[:] = own + picture * (1 - own[..., 3:])
        shown = own[..., 3] > _HIDING_ALPHA
        seen[shown] = number
        standing.append((Person.sample(person_seed), prototype, truth, _in_box(shown, truth.box_px)))
    faces = [
        GroupFace(person, prototype, truth, _in_box(seen == number, truth.box_px) / max(shown_px, 1))
        for number, (person, prototype, truth, shown_px) in enumerate(standing)
    ]
    faces.sort(key=lambda face: face.truth.box_px[0] + face.truth.box_px[2])
    background = pictures.background(scene.background_seed, width, height)
    return Group(pictures.develop(picture, background, scene), tuple(faces))


def _places(rng: np.random.Generator, count: int, largest_px: int) -> tuple[list[_Place], tuple[int, int]]:
    """Where people stand, from the back row to the front one, and the picture's width and height."""
    fewest = -(-count // _MOST_A_ROW)
    num_rows = int(rng.integers(fewest, max(-(-count // _FEWEST_A_ROW), fewest) + 1))
    rows = [len(row) for row in np.array_split(np.arange(count), num_rows)]
    slot_px, row_px = rng.uniform(*_SLOT_WIDTH) * largest_px, rng.uniform(*_ROW_HEIGHT) * largest_px
    width, top = round(max(rows) * slot_px + 0.7 * largest_px), 0.75 * largest_px
    places = []
    for number, in_row in enumerate(rows):
        row_largest_px = largest_px * _BACK ** (num_rows - 1 - number)
        for place in range(in_row):
            aside = place - (in_row - 1) / 2 + rng.uniform(-0.07, 0.07)
            centre_px = (
                width / 2 + aside * slot_px,
                top + number * row_px + rng.uniform(-0.05, 0.05) * row_px,
            )
            places.append(_Place(float(rng.uniform(_SMALLEST, 1)) * row_largest_px, centre_px))
    return places, (width, round(top + (num_rows - 1) * row_px + 1.1 * largest_px))


def _stand(layer: Layer, light: Scene, person: Person, prototype: Prototype, place: _Place) -> Truth:
    """Draw a person into an empty layer, the middle of the face at the given place."""
    own = Scene.sample(person.seed)
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
    tile_px = round(place.face_px / _FACE_SHARE)
    cutout = cut_out(person, prototype.action_units, scene, tile_px)
    left, top = (round(c - share * tile_px) for c, share in zip(place.centre_px, _FACE_CENTRE, strict=True))
    _lay(layer, cutout.layer, left, top)
    return _shifted(cutout, left, top)


def _in_box(mask: Bool[np.ndarray, "height width"], box_px: tuple[float, float, float, float]) -> int:
    left, top, right, bottom = (round(edge) for edge in box_px)
    return int(np.count_nonzero(mask[max(top, 0) : bottom, max(left, 0) : right]))


def _lay(picture: Layer, tile: Layer, left: int, top: int) -> None:
    """Copy the part of a tile that falls into the picture; its last row runs on to the bottom."""
    height, width = picture.shape[:2]
    x0, y0, x1 = max(left, 0), max(top, 0), min(left + tile.shape[1], width)
    below = np.repeat(tile[-1:], max(height - top - tile.shape[0], 0), axis=0)
    seen = np.concatenate([tile, below])[y0 - top : height - top, x0 - left : x1 - left]
    picture[y0:, x0:x1] = seen


def _shifted(cutout: Cutout, left: int, top: int) -> Truth:
    box = cutout.truth.box_px
    return replace(
        cutout.truth,
        box_px=(box[0] + left, box[1] + top, box[2] + left, box[3] + top),
        landmarks_px=cutout.truth.landmarks_px + np.array([left, top], np.float32),
    )
