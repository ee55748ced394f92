"""Draws a posed person without the background: solid parts first, then lashes, brows and hair."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from expllm.rendering import compositing, geometry, glasses, head, mesh, paint, shading, textures
from expllm.rendering.camera import View
from expllm.rendering.folds import Folds
from expllm.rendering.paint import Colour
from expllm.rendering.person import Person
from expllm.rendering.scene import Scene

Layer = Float32[np.ndarray, "height width 4"]
"""Linear colour, premultiplied; alpha last."""

_SUPERSAMPLING = 2  # what compositing.resolve averages
_TONGUE_COLOUR = (0.35, 0.052, 0.052)
_LASH_COLOUR = (0.02, 0.014, 0.012)
_SHADOW_PX, _SHADOW_SPAN = 288, 4.4
"""Size of the shadow map, and what it covers in mesh units."""
_HOLLOW_REACH = 0.16
"""How far around a point its surroundings shade it, in mesh units."""


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """A person's points as the camera sees them."""

    person: Person
    body: head.Points
    parts: dict[str, head.Points]
    frame: head.Points
    """The frame of the glasses."""
    lenses: head.Points | None
    folds: Folds


@dataclass(frozen=True, eq=False)
class _Sheet:
    """Half-transparent triangles and how they look."""

    points: head.Points
    triangles: head.Triangles
    uv: head.TriangleUV
    texture: textures.Texture
    colour: Colour
    gloss: float
    bias: float
    """How far behind the surface they may lie and still be seen."""
    density: float


def part_names(person: Person) -> list[str]:
    """The parts that are fitted onto a person's head."""
    return [name for name in ("eyes", "teeth", "lash", person.brow, person.hair) if name]


def draw(posed: PosedPerson, scene: Scene, view: View, size_px: int) -> Layer:
    """Draw a person into a square picture."""
    fine = view.finer(_SUPERSAMPLING)
    side_px = size_px * _SUPERSAMPLING
    depth = np.full((side_px, side_px), geometry.BEHIND, np.float32)
    image = np.zeros((side_px, side_px, 4), np.float32)
    _draw_solid(posed, scene, fine, depth, image)
    lamp = scene.lamp()
    for sheet in _sheets(posed):
        screen = fine.project(sheet.points)
        far_to_near = np.argsort(screen[sheet.triangles, 2].sum(1))
        normals = geometry.normals(sheet.points, sheet.triangles)
        look = np.array([sheet.gloss, sheet.bias, sheet.density], np.float32)
        compositing.overlay(
            (screen, sheet.triangles, sheet.uv, normals), far_to_near, sheet.texture,
            np.array(sheet.colour, np.float32), look, lamp, depth, image,
        )  # fmt: skip
    return compositing.resolve(image)


def _sheets(posed: PosedPerson) -> list[_Sheet]:
    """The half-transparent parts, in the order they are laid on."""
    person = posed.person
    result = [
        _sheet(posed, person.brow, person.brow_colour, 0.0, 0.05, person.brow_density),
        _sheet(posed, "lash", _LASH_COLOUR, 0.0, 0.02),
    ]
    if posed.lenses is not None and person.glasses is not None:
        triangles, uv = glasses.lens_mesh()
        texture = glasses.lens_texture(person.glasses)
        result.append(_Sheet(posed.lenses, triangles, uv, texture, (1, 1, 1), 0.2, 0.0, 1.0))
    if person.hair:
        result.append(_sheet(posed, person.hair, person.hair_colour, 0.8, 0.0))
    return result


def _sheet(
    posed: PosedPerson, name: str, colour: Colour, gloss: float, bias: float, density: float = 1.0
) -> _Sheet:
    part = head.load().parts[name]
    points, texture = posed.parts[name], textures.strands(name)
    return _Sheet(points, part.triangles, part.uv, texture, colour, gloss, bias, density)


def _draw_solid(
    posed: PosedPerson, scene: Scene, view: View, depth: Float32[np.ndarray, "h w"], image: Layer
) -> None:
    person, solid, lamp = posed.person, mesh.solid(posed.person.headwear), scene.lamp()
    points = mesh.points(posed.body, posed.parts["teeth"], posed.parts["eyes"], posed.frame)
    screen = view.project(points)
    ids = np.full(depth.shape, geometry.NOTHING, np.int32)
    geometry.raster(screen, solid.triangles, True, depth, ids)
    shadow_axes = _shadow_axes(lamp[0])
    head_axes = np.ascontiguousarray(scene.rotation().T[:2])
    open_sky = geometry.openness(depth, _HOLLOW_REACH * view.focal_px / view.distance)
    shading.shade(
        ids,
        (screen, points, geometry.normals(points, solid.triangles)),
        (solid.triangles, solid.uv, solid.material, solid.surface),
        _colours(person),
        (posed.folds, paint.layer(person.paint), head_axes),
        (_shadow(posed, shadow_axes), shadow_axes, open_sky, lamp),
        image,
    )


def _colours(person: Person) -> tuple[Float32[np.ndarray, "..."], ...]:
    """What `shading.shade` colours the materials with."""
    frame_colour = person.glasses.colour if person.glasses else (0.0, 0.0, 0.0)
    plain = (person.garment_colour, _TONGUE_COLOUR, frame_colour, person.headwear_colour)
    return (
        textures.skin(person.skin_texture),
        np.array(person.skin_gain, np.float32),
        textures.teeth(),
        textures.eye(person.eye),
        np.array(plain, np.float32),
    )


def _shadow_axes(to_lamp: Float32[np.ndarray, "3"]) -> Float32[np.ndarray, "3 4"]:
    right = np.cross([0, 1, 0], to_lamp)
    right /= np.linalg.norm(right)
    up = np.cross(to_lamp, right)
    scale, middle = _SHADOW_PX / _SHADOW_SPAN, _SHADOW_PX / 2
    return np.array([[*right * scale, middle], [*-up * scale, middle], [*to_lamp, 0]], np.float32)


def _shadow(posed: PosedPerson, axes: Float32[np.ndarray, "3 4"]) -> Float32[np.ndarray, "size size"]:
    """Nearness to the lamp of the skin and the hair."""
    depth = np.full((_SHADOW_PX, _SHADOW_PX), geometry.BEHIND, np.float32)
    ids = np.empty((_SHADOW_PX, _SHADOW_PX), np.int32)
    casters = [(posed.body, head.load().skin)]
    if hair := posed.person.hair:
        casters.append((posed.parts[hair], mesh.dense(hair)))
    for points, triangles in casters:
        geometry.raster(points @ axes[:, :3].T + axes[:, 3], triangles, False, depth, ids)
    return depth
