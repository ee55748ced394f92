"""Reads the packed MakeHuman head: a mesh, its identity and movement deltas, and the parts fitted onto it."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

DELTA_UNIT = np.float32(2e-4)
"""What one step of a packed delta is worth, in mesh units (decimetres)."""

# Vertices of the packed mesh. x points to the person's left, y up, z forward.
FIT_X = (1912, 4107)
"""The two vertices whose distance in x tells how wide a head is, for fitting parts onto it."""
FIT_Y = (791, 881)
FIT_Z = (962, 1833)
FIT_REFERENCE = (1.4160, 2.3073, 1.9231)
"""Those three distances on the head that the parts were modelled on."""
CHIN = 1809
EYES = (4731, 4774)
"""Two vertices on the left eyeball, near its middle height."""
UPPER_LIP_MARGIN = (468, 474, 520, 537)
"""The midline of the upper lip where it meets the lower."""
LOWER_LIP_MARGIN = (493, 494, 523, 540)

NUM_BODY = 4505
"""Vertices from here on are the tongue and invisible helpers."""
_BROW_X, _BROW_Y = 0.13, 7.43
"""The inner end of the left brow."""
_FACE_HEIGHT, _FACE_FRONT = (6.15, 7.95), 0.72
"""Between which heights, and how far in front, a vertex belongs to the face."""

Points = Float32[np.ndarray, "points 3"]
Triangles = Int32[np.ndarray, "triangles 3"]
TriangleUV = Float32[np.ndarray, "triangles 3 2"]


@dataclass(frozen=True, eq=False)
class Delta:
    """Displacement of some of the mesh's vertices at weight 1."""

    index: Int32[np.ndarray, " moved"]
    offset: Float32[np.ndarray, "moved 3"]


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh of its own that follows the head's surface: eyes, teeth, lashes, brows, hair."""

    reference: Int32[np.ndarray, "points 3"]
    weight: Float32[np.ndarray, "points 3"]
    offset: Points
    triangles: Triangles
    uv: TriangleUV


@dataclass(frozen=True, eq=False)
class Head:
    """The packed head; `movements` are the ARKit units and browSlant, `identities` ages, sexes, features."""

    vertices: Points
    movements: dict[str, Delta]
    identities: dict[str, Delta]
    skin: Triangles
    skin_uv: TriangleUV
    tongue: Triangles
    garment_rim: Int32[np.ndarray, " rim"]
    """The loop of vertices at the lower end of the mesh; a garment hangs from it."""
    parts: dict[str, Part]
    face: Int32[np.ndarray, " face"]
    """The vertices that the face box encloses: chin to hairline, without the ears."""


def folder() -> Path:
    """The folder of the packed head."""
    return Path(str(resources.files("expllm"))) / "data" / "makehuman_head"


@cache
def load() -> Head:
    """Read the packed head; one copy a process."""
    with np.load(folder() / "mh_geom.npz", allow_pickle=False) as packed:
        arrays = dict(packed)
    vertices = arrays["V"].astype(np.float32)
    skin = arrays["body.F"].astype(np.int32)
    return Head(
        vertices=vertices,
        movements={name.removeprefix("au/"): delta for name, delta in _deltas(arrays, ("au/",))}
        | {f"browSlant{side}": _slant(vertices, sign) for side, sign in (("Left", 1), ("Right", -1))},
        identities=dict(_deltas(arrays, ("mac/", "id/"))),
        skin=skin,
        skin_uv=arrays["body.UV"].astype(np.float32),
        tongue=arrays["tongue.F"].astype(np.int32),
        garment_rim=_rim(skin),
        parts={name: _part(arrays, name) for name in _names(arrays, "px/", ".ref")},
        face=_face(vertices),
    )


def _names(arrays: dict[str, np.ndarray], start: str, end: str) -> list[str]:
    return [key[len(start) : -len(end)] for key in arrays if key.startswith(start) and key.endswith(end)]


def _deltas(arrays: dict[str, np.ndarray], starts: tuple[str, ...]) -> list[tuple[str, Delta]]:
    return [
        (
            start + name,
            Delta(arrays[f"{start}{name}.i"].astype(np.int32), arrays[f"{start}{name}.d"] * DELTA_UNIT),
        )
        for start in starts
        for name in _names(arrays, start, ".i")
    ]


def _part(arrays: dict[str, np.ndarray], name: str) -> Part:
    return Part(
        reference=arrays[f"px/{name}.ref"].astype(np.int32),
        weight=arrays[f"px/{name}.w"].astype(np.float32),
        offset=arrays[f"px/{name}.off"].astype(np.float32),
        triangles=arrays[f"px/{name}.F"].astype(np.int32),
        uv=arrays[f"px/{name}.UV"].astype(np.float32),
    )


def _slant(vertices: Points, sign: int) -> Delta:
    """A frown's slant, which browDown lacks: the inner end of a brow sinks, and does not meet the other."""
    x, y, z = vertices[:NUM_BODY].T
    aside = sign * x
    pull = np.exp(-((aside - _BROW_X) ** 2) / 0.02 - (y - _BROW_Y) ** 2 / 0.011) * (z > _FACE_FRONT)
    pull *= np.clip(aside / 0.06, 0, 1)  # nothing crosses the middle
    index = np.flatnonzero(pull > 0.01).astype(np.int32)
    offset = pull[index, None] * np.array([sign * 0.022, -0.045, 0.015])
    return Delta(index, offset.astype(np.float32))


def _face(vertices: Points) -> Int32[np.ndarray, " face"]:
    x_y_z = vertices[:NUM_BODY]
    low, high = _FACE_HEIGHT
    inside = (x_y_z[:, 1] > low) & (x_y_z[:, 1] < high) & (x_y_z[:, 2] > _FACE_FRONT)
    return np.flatnonzero(inside).astype(np.int32)


def _rim(skin: Triangles) -> Int32[np.ndarray, " rim"]:
    """The vertices of the only open border, in order around it."""
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    known = {(int(a), int(b)) for a, b in edges}
    follows = {a: b for a, b in known if (b, a) not in known}
    loop = [min(follows)]
    while follows[loop[-1]] != loop[0]:
        loop.append(follows[loop[-1]])
    return np.array(loop, np.int32)


def fit(part: Part, vertices: Points) -> Points:
    """Place a part onto a head: each point hangs on three vertices, its offset grows with the head."""
    size = [
        abs(vertices[first, axis] - vertices[second, axis]) / FIT_REFERENCE[axis]
        for axis, (first, second) in enumerate((FIT_X, FIT_Y, FIT_Z))
    ]
    anchored = np.einsum("pkc,pk->pc", vertices[part.reference], part.weight)
    return anchored + part.offset * np.array(size, np.float32)


def moved(vertices: Points, deltas: dict[str, Delta], weights: dict[str, float]) -> Points:
    """A copy of the vertices with the named deltas added, each by its weight."""
    result = vertices.copy()
    for name, weight in weights.items():
        if weight:
            delta = deltas[name]
            result[delta.index] += np.float32(weight) * delta.offset
    return result
