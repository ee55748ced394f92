"""Moves the points of a head to where the camera sees them, and projects them onto the picture."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Float32

from expllm.rendering.head import CHIN, EYES, Points
from expllm.rendering.scene import Scene

_PIVOT_BELOW_EYES, _PIVOT_FORWARD = 0.28, 0.35
"""The point the head turns about, in mesh units."""
_NECK_LOW, _NECK_HIGH = -0.75, -0.1
"""Heights from the chin between which the head's rotation fades into the body's."""
_BODY_TURN = 0.35
"""The share of the head's rotation that the shoulders follow."""
_MARGIN = 0.02
"""Least distance of the face box from the picture's edge, as a share of its size."""


@dataclass(frozen=True, eq=False)
class Pose:
    """How a head is held; the shoulders follow only in part. The pivot becomes the origin."""

    rotation: Float32[np.ndarray, "3 3"]
    pivot: Float32[np.ndarray, "3"]
    chin_height: float

    @classmethod
    def of(cls, resting: Points, scene: Scene) -> Self:
        """The pose a scene asks for, on the head with these resting vertices."""
        eye_height = resting[list(EYES), 1].mean()
        pivot = np.array([0, eye_height - _PIVOT_BELOW_EYES, _PIVOT_FORWARD], np.float32)
        return cls(scene.rotation(), pivot, float(resting[CHIN, 1]))

    def __call__(self, points: Points) -> Points:
        """Points of the mesh, or of parts fitted onto it, as the camera sees them."""
        share = np.clip((points[:, 1] - self.chin_height - _NECK_LOW) / (_NECK_HIGH - _NECK_LOW), 0, 1)
        share = _BODY_TURN + (1 - _BODY_TURN) * share * share * (3 - 2 * share)
        centred = points - self.pivot
        return (centred + share[:, None] * (centred @ self.rotation.T - centred)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole camera, zoomed and shifted so that the face box has the size and place the scene asks for."""

    distance: float
    focal_px: float
    shift_px: Float32[np.ndarray, "2"]

    @classmethod
    def of(cls, face: Points, scene: Scene, size_px: int) -> Self:
        """The camera of a square picture in which the box of these posed points lies wholly."""
        flat = np.array([1, -1], np.float32) * face[:, :2] / (scene.distance - face[:, 2:])
        low, high = flat.min(0), flat.max(0)
        share = min(scene.face_share, 1 - 2 * _MARGIN)
        focal_px = share * size_px / float(np.max(high - low))
        reach = (high - low) * focal_px / 2 + _MARGIN * size_px
        centre = np.clip(np.array(scene.centre) * size_px, reach, size_px - reach)
        return cls(scene.distance, focal_px, (centre - focal_px * (low + high) / 2).astype(np.float32))

    def project(self, points: Points) -> Points:
        """x, y in pixels from the top left corner; nearness in mesh units."""
        gain = self.focal_px / (self.distance - points[:, 2])
        x, y = self.shift_px
        return np.stack([x + points[:, 0] * gain, y - points[:, 1] * gain, points[:, 2]], 1).astype(
            np.float32
        )

    def finer(self, times: int) -> Self:
        """The same camera with so many times the pixels."""
        return replace(self, focal_px=self.focal_px * times, shift_px=self.shift_px * times)
