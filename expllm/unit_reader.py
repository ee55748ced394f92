"""Reads action units off an encoder's features, and joins them with those that landmarks give."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float, Float32

_LEAST = 1e-3
"""Intensities this close to 0 or 1 count as this close: their logits stay finite."""


@dataclass(frozen=True)
class UnitReader:
    """Linear maps of patch tokens, and how much to trust them beside landmarks; rows as in facs.COLUMNS.

    Each action unit weighs the tokens by an attention of its own and sums their evidence. Landmarks know
    where a lip is and features see a wrinkle, so their logits are summed, in shares that differ by unit.
    """

    evidence: Float32[np.ndarray, "units width+1"]
    """Weights of a token's evidence, the last one a constant."""
    attention: Float32[np.ndarray, "units width+1"]
    shares: Float32[np.ndarray, "units 3"]
    """Of the landmarks' logit, of the features' logit, and a constant."""

    @property
    def width(self) -> int:
        """Channels of the features it reads."""
        return int(self.evidence.shape[1]) - 1

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name].astype(np.float32) for name in arrays.files})

    def save(self, path: Path) -> None:
        """Write the weights in half precision."""
        arrays = {name: array.astype(np.float16) for name, array in asdict(self).items()}
        np.savez_compressed(path, allow_pickle=False, **arrays)

    def join(
        self,
        features: Float[np.ndarray, "faces tokens width"],
        measured: Float32[np.ndarray, "faces units"],
    ) -> Float32[np.ndarray, "faces units"]:
        """Intensity 0..1 of each column from features and landmarks; NaN where landmarks give NaN."""
        by_landmarks, by_features, constant = self.shares.T
        return sigmoid(by_landmarks * logit(measured) + by_features * self.logits(features) + constant)

    def logits(self, features: Float[np.ndarray, "faces tokens width"]) -> Float32[np.ndarray, "faces units"]:
        """What the features alone say."""
        tokens = features.astype(np.float32)
        scores = _applied(self.attention, tokens)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        summed: Float32[np.ndarray, "faces units"] = (weights * _applied(self.evidence, tokens)).sum(axis=1)
        return summed


def _applied(weights: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    applied: np.ndarray = tokens @ weights[:, :-1].T + weights[:, -1]
    return applied


def logit(intensities: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The logit of intensities, which are kept off 0 and 1."""
    kept = np.clip(intensities, _LEAST, 1 - _LEAST)
    odds: Float32[np.ndarray, "*shape"] = np.log(kept / (1 - kept)).astype(np.float32)
    return odds


def sigmoid(logits: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The way back from a logit."""
    intensities: Float32[np.ndarray, "*shape"] = 0.5 + 0.5 * np.tanh(logits / 2)
    return intensities
