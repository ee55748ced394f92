"""Draws a posed person without the background: solid parts first, then lashes, brows and hair."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from expllm.rendering import geometry, head, mesh, shading, textures
from expllm.rendering.camera import View
from expllm.rendering.folds import Folds
from expllm.rendering.person import Person
from expllm.rendering.scene import Scene

Layer = Float32[np.ndarray, "height width 4"]
"""Linear colour, premultiplied; alpha last."""

_SUPERSAMPLING = 2  # what shading.resolve averages
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
    folds: Folds


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
    for name, colour, shine, bias in _overlays(posed.person):
        part, points = head.load().parts[name], posed.parts[name]
        screen = fine.project(points)
        far_to_near = np.argsort(screen[part.triangles, 2].sum(1))
        shading.overlay(
            screen, part.triangles, far_to_near, part.uv, geometry.normals(points, part.triangles),
            textures.strands(name), colour, shine, bias, lamp, depth, image,
        )  # fmt: skip
    return shading.resolve(image)


def _overlays(person: Person) -> list[tuple[str, Float32[np.ndarray, "3"], np.float32, np.float32]]:
    """Name, colour, gloss and depth bias of the half-transparent parts, in the order they are laid on."""
    layers = [(person.brow, person.brow_colour, 0.0, 0.05), ("lash", _LASH_COLOUR, 0.0, 0.02)]
    if person.hair:
        layers.append((person.hair, person.hair_colour, 0.8, 0.0))
    return [(n, np.array(c, np.float32), np.float32(shine), np.float32(bias)) for n, c, shine, bias in layers]


def _draw_solid(
    posed: PosedPerson, scene: Scene, view: View, depth: Float32[np.ndarray, "h w"], image: Layer
) -> None:
    person, solid, lamp = posed.person, mesh.solid(), scene.lamp()
    points = mesh.points(posed.body, posed.parts["teeth"], posed.parts["eyes"])
    screen = view.project(points)
    ids = np.full(depth.shape, geometry.NOTHING, np.int32)
    geometry.raster(screen, solid.triangles, True, depth, ids)
    shadow_axes = _shadow_axes(lamp[0])
    shading.shade(
        ids, screen, points, geometry.normals(points, solid.triangles),
        solid.triangles, solid.uv, solid.material, solid.surface,
        textures.skin(person.skin_texture), np.array(person.skin_gain, np.float32),
        textures.teeth(), textures.eye(person.eye),
        np.array([person.garment_colour, _TONGUE_COLOUR], np.float32),
        posed.folds, np.ascontiguousarray(scene.rotation().T[:2]),
        _shadow(posed, shadow_axes), shadow_axes,
        geometry.openness(depth, _HOLLOW_REACH * view.focal_px / view.distance),
        lamp, image,
    )  # fmt: skip


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
