"""Reads the evidence in an encoder's features, and joins its action units with those of landmarks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float, Float32

from expllm.expressions import EXPRESSIONS
from expllm.facs import COLUMNS

EVIDENCE = len(EXPRESSIONS) + len(COLUMNS)
"""The last channels of every token of a FaceTower: a logit for each expression, then for each action unit."""
_LEAST = 1e-3
"""Intensities this close to 0 or 1 count as this close: their logits stay finite."""


@dataclass(frozen=True)
class UnitReader:
    """How much to trust landmarks and features of a FaceTower, by action unit; rows as in facs.COLUMNS.

    Landmarks know where a lip is and features see a wrinkle, so their logits are summed.
    """

    shares: Float32[np.ndarray, "units 3"]
    """Of the landmarks' logit, of the features' logit, and a constant."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["shares"])

    def save(self, path: Path) -> None:
        """Write the shares."""
        np.savez_compressed(path, allow_pickle=False, shares=self.shares)

    def join(
        self,
        features: Float[np.ndarray, "faces tokens width"],
        measured: Float32[np.ndarray, "faces units"],
    ) -> Float32[np.ndarray, "faces units"]:
        """Intensity 0..1 of each column from features and landmarks; NaN where landmarks give NaN."""
        by_landmarks, by_features, constant = self.shares.T
        return sigmoid(by_landmarks * logit(measured) + by_features * unit_logits(features) + constant)


def unit_logits(features: Float[np.ndarray, "faces tokens width"]) -> Float32[np.ndarray, "faces units"]:
    """What the features of a FaceTower alone say of the action units."""
    return features[:, 0, -len(COLUMNS) :].astype(np.float32)


def expression_logits(
    features: Float[np.ndarray, "faces tokens width"],
) -> Float32[np.ndarray, "faces expressions"]:
    """What the features of a FaceTower alone say of the expression."""
    return features[:, 0, -EVIDENCE : -len(COLUMNS)].astype(np.float32)


def logit(intensities: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The logit of intensities, which are kept off 0 and 1."""
    kept = np.clip(intensities, _LEAST, 1 - _LEAST)
    odds: Float32[np.ndarray, "*shape"] = np.log(kept / (1 - kept)).astype(np.float32)
    return odds


def sigmoid(logits: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The way back from a logit."""
    intensities: Float32[np.ndarray, "*shape"] = 0.5 + 0.5 * np.tanh(logits / 2)
    return intensities
