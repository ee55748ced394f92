"""Estimates the action units of a detected face from its landmarks, blendshapes and head pose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from expllm.faces import BLENDSHAPES, LEFT_EYE, RIGHT_EYE, DetectedFace, rotation
from expllm.facs import COLUMNS, Intensities
from expllm.unit_reader import sigmoid

BUNDLED = Path(__file__).parent / "data" / "action_units.npz"

FAR_SIDE_HIDDEN_DEG = 50.0
"""Turned further than this, the side of the face that is away cannot be measured."""

# Brows, eyes, irises, nose and lips: what action units move. The face's outline says more about who it is.
_POINTS = (
    0, 1, 2, 4, 5, 6, 7, 13, 14, 17, 19, 33, 37, 39, 40, 45, 46, 48, 52, 53, 55, 61, 63, 64, 65, 66, 70,
    78, 80, 81, 82, 84, 87, 88, 91, 94, 95, 97, 98, 105, 107, 115, 133, 144, 145, 146, 153, 154, 155,
    157, 158, 159, 160, 161, 163, 168, 173, 178, 181, 185, 191, 195, 197, 220, 246, 249, 263, 267, 269,
    270, 275, 276, 278, 282, 283, 285, 291, 293, 294, 295, 296, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 324, 326, 327, 334, 336, 344, 362, 373, 374, 375, 380, 381, 382, 384, 385, 386, 387, 388, 390,
    398, 402, 405, 409, 415, 440, 466, 469, 470, 471, 472, 474, 475, 476, 477,
)  # fmt: skip
NUM_INPUTS = len(BLENDSHAPES) + 2 * len(_POINTS)


@dataclass(frozen=True)
class Estimator:
    """A small fitted network: features of a face -> intensity of every action unit."""

    mean: Float32[np.ndarray, " inputs"]
    spread: Float32[np.ndarray, " inputs"]
    """Inputs are taken from their mean, in units of their spread."""
    layers: tuple[tuple[Float32[np.ndarray, "inputs outputs"], Float32[np.ndarray, " outputs"]], ...]
    """Weight and bias of each layer; ReLU stands between two, a sigmoid at the end."""

    @classmethod
    def load(cls, path: Path = BUNDLED) -> "Estimator":
        """Read fitted weights; the bundled ones were fitted on rendered faces (docs/action_units.md)."""
        with np.load(path, allow_pickle=False) as arrays:
            read = {name: arrays[name].astype(np.float32) for name in arrays.files}
        depth = sum(name.startswith("weight") for name in read)
        layers = tuple((read[f"weight{i}"], read[f"bias{i}"]) for i in range(depth))
        return cls(read["mean"], read["spread"], layers)

    def estimate(self, face: DetectedFace) -> dict[str, float | None]:
        """Intensity 0..1 of every column of the table; None where the head hides that side."""
        intensities = self.intensities(features(face)[None])[0]
        hidden = _hidden(face.yaw_deg)
        return {
            column: None if column.endswith(hidden) else float(value)
            for column, value in zip(COLUMNS, intensities, strict=True)
        }

    def intensities(self, inputs: Float32[np.ndarray, "faces inputs"]) -> Float32[np.ndarray, "faces units"]:
        """Intensity 0..1 of each column for the features of several faces."""
        *inner, (last_weight, last_bias) = self.layers
        hidden = (inputs - self.mean) / self.spread
        for weight, bias in inner:
            hidden = np.maximum(hidden @ weight + bias, 0)
        return sigmoid(hidden @ last_weight + last_bias)


def _hidden(yaw_deg: float) -> tuple[str, ...]:
    """Endings of the columns that cannot be seen: who turns to their left hides their left side."""
    if yaw_deg > FAR_SIDE_HIDDEN_DEG:
        return ("_left",)
    return ("_right",) if yaw_deg < -FAR_SIDE_HIDDEN_DEG else ()


def features(face: DetectedFace) -> Float32[np.ndarray, " inputs"]:
    """What the estimator sees of a face: blendshapes, then x, y of landmarks with the head's pose undone."""
    return np.concatenate([face.blendshapes, frontal(face)[list(_POINTS), :2].ravel()])


def frontal(face: DetectedFace) -> Float32[np.ndarray, "478 3"]:
    """Landmarks with the pose undone: x right, y up, z to the viewer; eyes 1 apart, their middle at 0."""
    points = face.landmarks_px.astype(np.float64) * (1, -1, -1)
    eyes = np.stack([points[list(pair)].mean(0) for pair in (RIGHT_EYE, LEFT_EYE)])
    points = (points - eyes.mean(0)) / np.linalg.norm(eyes[1] - eyes[0])
    turned_back: Float32[np.ndarray, "478 3"] = points.astype(np.float32) @ rotation(
        face.yaw_deg, face.pitch_deg, face.roll_deg
    )
    return turned_back


def to_array(intensities: Sequence[Intensities]) -> Float32[np.ndarray, "faces units"]:
    """Intensities as rows in the order of COLUMNS, NaN for None."""
    return np.array([[row.get(column) for column in COLUMNS] for row in intensities], np.float32)


def to_intensities(row: Float32[np.ndarray, " units"]) -> dict[str, float | None]:
    """One row of an array back into the mapping, None for NaN."""
    return {
        column: None if np.isnan(value) else float(value) for column, value in zip(COLUMNS, row, strict=True)
    }
