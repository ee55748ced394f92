"""Turns a seed into everything of a picture but the person: pose, lens, light, background, image quality."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float32

_FROM_BELOW_RATE, _COARSE_RATE, _GREY_RATE = 0.08, 0.15, 0.07


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
    softness: float
    """0 for a hard lamp, 1 for one as wide as the sky."""
    gloss: float
    """Gain of the skin's highlights."""
    rim: float
    """Strength of the light from behind."""
    warmth: float
    """-1 bluish to 1 reddish light."""
    background_seed: int
    blur_px: float
    detail: float
    """Share of the picture's resolution that the camera had."""
    contrast: float
    saturation: float
    """0 for a picture without colour."""
    noise: float
    """Standard deviation of the noise, 0..1."""
    jpeg_quality: int

    @classmethod
    def sample(cls, seed: int) -> Self:
        """Draw a scene; the same seed gives the same scene."""
        rng = np.random.default_rng([seed, 3])
        return cls(
            yaw_deg=float(np.clip(rng.normal(0, 14), -42, 42)),
            pitch_deg=float(np.clip(rng.normal(0, 8), -22, 22)),
            roll_deg=float(np.clip(rng.normal(0, 6), -20, 20)),
            gaze_left=float(np.clip(rng.normal(0, 0.15), -0.4, 0.4)),
            gaze_up=float(np.clip(rng.normal(-0.03, 0.12), -0.35, 0.3)),
            face_share=float(rng.uniform(0.48, 0.86)),
            centre=(float(0.5 + rng.normal(0, 0.05)), float(0.51 + rng.normal(0, 0.05))),
            distance=float(np.exp(rng.uniform(np.log(4.5), np.log(24)))),
            light_left_deg=float(rng.uniform(-70, 70)),
            light_up_deg=float(
                rng.uniform(5, 55) if rng.random() > _FROM_BELOW_RATE else rng.uniform(-40, 5)
            ),
            key=float(rng.uniform(0.6, 1.3)),
            ambient=float(rng.uniform(0.28, 0.75)),
            softness=float(rng.uniform(0, 1)),
            gloss=float(rng.uniform(0.3, 2.2)),
            rim=float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.4)], p=(0.8, 0.2))),
            warmth=float(rng.uniform(-0.8, 0.9)),
            background_seed=int(rng.integers(2**31)),
            blur_px=float(max(rng.normal(0.1, 0.5), 0)),
            detail=float(rng.uniform(0.3, 0.8) if rng.random() < _COARSE_RATE else 1.0),
            contrast=float(rng.uniform(0.88, 1.2)),
            saturation=float(0.0 if rng.random() < _GREY_RATE else rng.uniform(0.75, 1.2)),
            noise=float(max(rng.normal(0.008, 0.012), 0)),
            jpeg_quality=int(rng.integers(35, 97)),
        )

    def lamp(self) -> Float32[np.ndarray, "4 3"]:
        """Direction to the lamp; its colour; the ambient colour; softness, gloss and light from behind."""
        left, up = np.radians([self.light_left_deg, self.light_up_deg])
        direction = (np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up))
        colour = (1 + 0.12 * self.warmth, 1.0, 1 - 0.15 * self.warmth)
        return np.array(
            [
                direction,
                np.multiply(colour, self.key),
                np.multiply((0.96, 0.98, 1.04), self.ambient),
                (self.softness, self.gloss, self.rim),
            ],
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
