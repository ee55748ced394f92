"""Renders one person with given action units in a scene: the picture, and the truth about the face."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from expllm.rendering import drawing, folds, glasses, head, headwear, pictures, rig
from expllm.rendering.camera import Pose, View
from expllm.rendering.expressions import Prototype
from expllm.rendering.landmarks import LANDMARKS
from expllm.rendering.person import Person
from expllm.rendering.scene import Scene
from expllm.rendering.shapes import resting_vertices

_TEETH_BACK = 0.03
"""How far the teeth are set back, in mesh units: some identities' lips would not cover them."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about a rendered face: every action unit of the table, and where the face is."""

    action_units: dict[str, float]
    box_px: tuple[float, float, float, float]
    landmarks_px: Float32[np.ndarray, "landmarks 2"]
    """The vertices of `landmarks.LANDMARKS`, in its order."""
    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture of one face."""

    pixels: UInt8[np.ndarray, "height width 3"]
    truth: Truth


@dataclass(frozen=True, eq=False)
class Cutout:
    """A person without the background."""

    layer: drawing.Layer
    truth: Truth


def render_face(
    person: Person, action_units: Mapping[str, float | None], scene: Scene, size_px: int = 224
) -> Rendered:
    """Render a square picture of a person whose face makes the given movements.

    Args:
        person: Who it is; the same person can be rendered with any action units.
        action_units: Table column -> 0..1; a column left out or None is at rest. See `rig.weights`.
        scene: How the picture is taken.
        size_px: Width and height of the picture.
    """
    cutout = cut_out(person, action_units, scene, size_px)
    background = pictures.background(scene.background_seed, size_px, size_px)
    return Rendered(pictures.develop(cutout.layer, background, scene), cutout.truth)


def cut_out(person: Person, action_units: Mapping[str, float | None], scene: Scene, size_px: int) -> Cutout:
    """Render a person without the background."""
    loaded = head.load()
    resting = resting_vertices(person.shape, person.rest)
    weights = rig.weights(action_units, person.asymmetry)
    shown = rig.smiling(weights, dict(person.smile))
    deformed = head.moved(resting, loaded.movements, shown | scene.gaze())
    known = rig.action_units(weights, rig.lip_gap(deformed) - rig.lip_gap(resting))
    pose = Pose.of(resting, scene)
    posed = drawing.PosedPerson(
        person,
        body=pose(headwear.put_on(person.headwear, deformed)),
        parts={name: pose(points) for name, points in _fitted(person, deformed).items()},
        frame=pose(glasses.frame(person.glasses, resting)),
        lenses=pose(glasses.lenses(person.glasses, resting)) if person.glasses else None,
        folds=folds.press(known, dict(person.lasting_folds), person.fold_depth, person.fold_pattern),
    )
    view = View.of(posed.body[loaded.face], scene, size_px)
    return Cutout(drawing.draw(posed, scene, view, size_px), _truth(known, posed.body, view, scene))


def _fitted(person: Person, deformed: head.Points) -> dict[str, head.Points]:
    """The points of everything that is fitted onto a person's head, by the name of the part."""
    parts = head.load().parts
    fitted = {name: head.fit(parts[name], deformed) for name in drawing.part_names(person)}
    fitted["teeth"][:, 2] -= _TEETH_BACK
    fitted[person.brow] = _thickened(fitted[person.brow], person.brow_thickness)
    if person.hair and person.is_hair_mirrored:
        fitted[person.hair][:, 0] *= -1
    return fitted


def _thickened(brows: head.Points, times: float) -> head.Points:
    """Brows so many times as thick, along the same arch."""
    result = brows.copy()
    for side in (brows[:, 0] > 0, brows[:, 0] <= 0):
        x, y, _ = brows[side].T
        arch = np.polyval(np.polyfit(x, y, 3), x)
        result[side, 1] = arch + times * (y - arch)
    return result


def _truth(known: dict[str, float], body: head.Points, view: View, scene: Scene) -> Truth:
    face = view.project(body[head.load().face])[:, :2]
    (left, top), (right, bottom) = face.min(0).tolist(), face.max(0).tolist()
    return Truth(
        action_units=known,
        box_px=(left, top, right, bottom),
        landmarks_px=view.project(body[list(LANDMARKS.values())])[:, :2],
        yaw_deg=scene.yaw_deg,
        pitch_deg=scene.pitch_deg,
        roll_deg=scene.roll_deg,
    )


def table_row(
    file: str, face_index: int, person: Person, prototype: Prototype, truth: Truth
) -> dict[str, Any]:
    """A face as a row of `tables.FACES`."""
    return {
        "file": file,
        "face_index": face_index,
        "person": person.seed,
        "expression": str(prototype.expression),
        "peak": prototype.peak,
        "action_units": truth.action_units,
        "box_px": list(truth.box_px),
        "landmarks_px": truth.landmarks_px.tolist(),
        "yaw_deg": truth.yaw_deg,
        "pitch_deg": truth.pitch_deg,
        "roll_deg": truth.roll_deg,
        "skin": person.skin,
        "age": person.age,
        "sex": person.sex,
        "seed": person.seed,
    }
