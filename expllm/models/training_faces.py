"""Rows of tables.EXAMPLES -> the arrays that a step of training takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64, UInt8

from expllm.action_units import to_array
from expllm.expressions import EXPRESSIONS


@dataclass(frozen=True)
class TrainingFaces:
    """A few faces as finetuning.Faces has them; all arrays have one entry a face."""

    crops: UInt8[np.ndarray, "faces size size 3"]
    action_units: Float32[np.ndarray, "faces units"]
    measured: Float32[np.ndarray, "faces units"]
    expressions: Int64[np.ndarray, " faces"]
    texts: Sequence[str | None]

    @classmethod
    def of(cls, examples: pa.Table) -> Self:
        """The faces of at least one row; crops of one table are of one size."""
        size = examples["crop_px"][0].as_py()
        pixels = np.frombuffer(b"".join(examples["crop"].to_pylist()), np.uint8)
        return cls(
            crops=pixels.reshape(-1, size, size, 3),
            action_units=to_array([units or {} for units in examples["action_units"].to_pylist()]),
            measured=to_array([units or {} for units in examples["measured"].to_pylist()]),
            expressions=np.array([EXPRESSIONS.index(word) for word in examples["expression"].to_pylist()]),
            texts=examples["text"].to_pylist(),
        )
