"""Joins the solid parts of a person to one mesh: skin, tongue, garment, teeth, eyes and glasses."""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from expllm.rendering import front, glasses, head, headwear, shading, textures

_GARMENT_DROP = 3.2
"""How far the garment hangs below the lower end of the packed mesh."""
_NECKLINE = 0.7
"""Radius of the garment's opening around the neck."""


@dataclass(frozen=True, eq=False)
class SolidMesh:
    """What stays the same from person to person; the points come from `points`."""

    triangles: head.Triangles
    uv: head.TriangleUV
    material: UInt8[np.ndarray, " triangles"]
    surface: Float32[np.ndarray, "points 4"]
    """Position on the map over the face; whether the garment and the headwear lie over the skin (above 0)."""


def points(body: head.Points, teeth: head.Points, eyes: head.Points, frame: head.Points) -> head.Points:
    """The solid mesh's points, from the posed vertices of the packed mesh and the parts."""
    rim = body[head.load().garment_rim]
    hem = rim * np.array([1.08, 1, 1.1], np.float32) - np.array([0, _GARMENT_DROP, 0], np.float32)
    return np.concatenate([body, hem, teeth, eyes, frame])


@lru_cache(maxsize=4)
def solid(worn: str) -> SolidMesh:
    """The mesh whose points `points` gives, of a person with this headwear."""
    loaded = head.load()
    teeth, eyes = loaded.parts["teeth"], loaded.parts["eyes"]
    opaque = textures.alpha_at(textures.load("eyes.png"), eyes.uv) > 0.5  # the rest is the cornea
    num_body = len(loaded.vertices)
    first_tooth = num_body + len(loaded.garment_rim)
    first_eye = first_tooth + len(teeth.reference)
    first_of_frame = first_eye + len(eyes.reference)
    groups = (
        (loaded.skin, loaded.skin_uv, shading.SKIN),
        (loaded.tongue, None, shading.TONGUE),
        (_skirt(loaded.garment_rim, num_body), None, shading.GARMENT),
        (teeth.triangles + first_tooth, teeth.uv, shading.TEETH),
        (eyes.triangles[opaque] + first_eye, eyes.uv[opaque], shading.EYE),
        (glasses.frame_triangles() + first_of_frame, None, shading.FRAME),
    )
    surface = np.full((first_of_frame + glasses.frame_triangles().max() + 1, 4), -1, np.float32)
    surface[:num_body, :2] = front.positions(loaded.vertices)
    surface[:num_body, 2] = _cover(loaded.vertices)
    surface[:num_body, 3] = headwear.cover(worn)
    return SolidMesh(
        triangles=np.concatenate([triangles for triangles, _, _ in groups]).astype(np.int32),
        uv=np.concatenate(
            [np.zeros((len(t), 3, 2), np.float32) if uv is None else uv for t, uv, _ in groups]
        ),
        material=np.concatenate([np.full(len(t), kind, np.uint8) for t, _, kind in groups]),
        surface=surface,
    )


@cache
def dense(name: str) -> head.Triangles:
    """The triangles of a hair part that let little light through."""
    part = head.load().parts[name]
    return part.triangles[textures.alpha_at(textures.load(f"{name}.png"), part.uv) > 0.4]


def _skirt(rim: Int32[np.ndarray, " rim"], first_lower: int) -> head.Triangles:
    """Triangles from the rim of the mesh down to the hem."""
    hem = first_lower + np.arange(len(rim), dtype=np.int32)
    next_rim, next_hem = np.roll(rim, -1), np.roll(hem, -1)
    return np.concatenate([np.stack([next_rim, rim, hem], 1), np.stack([next_rim, hem, next_hem], 1)])


def _cover(vertices: head.Points) -> Float32[np.ndarray, " points"]:
    """Where the garment lies on the shoulders: above 0, up to a round neckline."""
    from_neck = np.hypot(vertices[:, 0], 0.9 * (vertices[:, 2] - 0.1))
    return np.minimum(from_neck - _NECKLINE, 6.0 - vertices[:, 1])
