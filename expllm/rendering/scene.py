"""Turns a seed into everything of a picture but the person: pose, lens, light, background, image quality."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float32

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """How one picture is taken. Yaw is to the person's left, pitch up, roll clockwise for the viewer."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    gaze_left: float
    """Where the eyes look, -1 (the person's right) to 1."""
    gaze_up: float
    face_share: float
    """Height of the face box as a share of the picture's."""
    centre: tuple[float, float]
    """Middle of the face box, as shares of the picture's width and height from the left and the top."""
    distance: float
    """From the camera to the head, in mesh units (decimetres)."""
    light_left_deg: float
    """Where the lamp stands: 0 at the camera, positive to the person's left."""
    light_up_deg: float
    key: float
    ambient: float
    warmth: float
    """-1 bluish to 1 reddish light."""
    background_seed: int
    blur_px: float
    noise: float
    """Standard deviation of the noise, 0..1."""
    jpeg_quality: int

    @classmethod
    def sample(cls, seed: int) -> Self:
        """Draw a scene; the same seed gives the same scene."""
        rng = np.random.default_rng([seed, 3])
        return cls(
            yaw_deg=float(np.clip(rng.normal(0, 13), -38, 38)),
            pitch_deg=float(np.clip(rng.normal(0, 7), -20, 20)),
            roll_deg=float(np.clip(rng.normal(0, 5), -15, 15)),
            gaze_left=float(np.clip(rng.normal(0, 0.15), -0.4, 0.4)),
            gaze_up=float(np.clip(rng.normal(-0.03, 0.12), -0.35, 0.3)),
            face_share=float(rng.uniform(0.5, 0.8)),
            centre=(float(0.5 + rng.normal(0, 0.03)), float(0.51 + rng.normal(0, 0.03))),
            distance=float(rng.uniform(5.5, 12)),
            light_left_deg=float(rng.uniform(-62, 62)),
            light_up_deg=float(rng.uniform(5, 50)),
            key=float(rng.uniform(0.7, 1.25)),
            ambient=float(rng.uniform(0.3, 0.65)),
            warmth=float(rng.uniform(-0.6, 0.9)),
            background_seed=int(rng.integers(2**31)),
            blur_px=float(max(rng.normal(0.1, 0.4), 0)),
            noise=float(max(rng.normal(0.008, 0.01), 0)),
            jpeg_quality=int(rng.integers(40, 97)),
        )

    def lamp(self) -> Float32[np.ndarray, "3 3"]:
        """Direction to the lamp, the lamp's colour, the ambient colour."""
        left, up = np.radians([self.light_left_deg, self.light_up_deg])
        direction = (np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up))
        colour = (1 + 0.12 * self.warmth, 1.0, 1 - 0.15 * self.warmth)
        return np.array(
            [direction, np.multiply(colour, self.key), np.multiply((0.96, 0.98, 1.04), self.ambient)],
            np.float32,
        )

    def gaze(self) -> dict[str, float]:
        """The rig's eye movements for where the eyes look."""
        left, up = self.gaze_left, self.gaze_up
        return {
            "eyeLookOutLeft": max(left, 0.0),
            "eyeLookInRight": max(left, 0.0),
            "eyeLookInLeft": max(-left, 0.0),
            "eyeLookOutRight": max(-left, 0.0),
            "eyeLookUpLeft": max(up, 0.0),
            "eyeLookUpRight": max(up, 0.0),
            "eyeLookDownLeft": max(-up, 0.0),
            "eyeLookDownRight": max(-up, 0.0),
        }

    def rotation(self) -> Float32[np.ndarray, "3 3"]:
        """The head rolls, then pitches, then turns."""
        yaw, pitch, roll = np.radians([self.yaw_deg, self.pitch_deg, self.roll_deg])
        turn = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        nod = [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
        tilt = [[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        return (np.array(turn) @ np.array(nod) @ np.array(tilt)).astype(np.float32)
