"""Crops -> the encoder's features, and the two questions asked about each face."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from expllm import prompt
from expllm.distributed.results import EXPLAIN, LABEL

FEATURES = pa.schema(
    [
        ("shard_id", pa.string()),
        ("photo_uri", pa.string()),
        ("num_faces", pa.int16()),
        ("face_index", pa.int16()),
        ("known", pa.string()),
        ("features", pa.binary()),
        ("num_tokens", pa.int32()),
    ]
)
"""What leaves this stage: `features` are num_tokens x width float16, empty where there is no face."""


class Encode:
    """Encodes the crops of a batch together; rows without a face pass."""

    def __init__(self, model: str, device: str) -> None:
        from expllm.models.checkpoint import resolve
        from expllm.models.encoder import Encoder  # torch: here alone, not where features are only read

        self._encoder = Encoder(resolve(model), device)

    def __call__(self, found: pa.Table) -> pa.Table:
        """Crops of faces.FOUND_FACES into FEATURES, in the same order; `known` has the joined movements."""
        crops = [crop for crop in found["crop"].to_pylist() if crop]
        known = found["known"].to_pylist()
        faces = [place for place, count in enumerate(found["num_faces"].to_pylist()) if count]
        features: list[np.ndarray | None] = [None] * len(known)
        for place, encoded, columns in zip(faces, *self._read(crops, [known[i] for i in faces]), strict=True):
            features[place], known[place] = encoded, columns
        return pa.table(
            {
                **{name: found[name] for name in FEATURES.names[:4]},
                "known": known,
                "features": [b"" if one is None else one.tobytes() for one in features],
                "num_tokens": [0 if one is None else len(one) for one in features],
            },
            schema=FEATURES,
        )

    def _read(self, crops: list[bytes], known: list[str]) -> tuple[np.ndarray, list[str]]:
        size = self._encoder.crop_px
        pixels = np.frombuffer(b"".join(crops), np.uint8).reshape(-1, size, size, 3)
        columns = [json.loads(one) for one in known]
        features, joined = self._encoder.read(pixels, [one["action_units"] for one in columns])
        return features, [
            json.dumps({**one, "action_units": units}) for one, units in zip(columns, joined, strict=True)
        ]


def features_of(row: Mapping[str, Any]) -> np.ndarray:
    """The features of one row, num_tokens x width float16."""
    return np.frombuffer(row["features"], np.float16).reshape(row["num_tokens"], -1)


def hints_of(row: Mapping[str, Any], *, are_given: bool) -> dict[str, float | None] | None:
    """The measured movements that the prompt of a face tells, if it tells any."""
    known: dict[str, Any] = json.loads(row["known"])
    return known["action_units"] if are_given else None


def ask(row: Mapping[str, Any], *, has_hints: bool) -> Iterator[dict[str, Any]]:
    """One row for each question about a face; a row without a face goes on as it is, with no prompt."""
    if not row["num_faces"]:
        yield {**row, "question": "", "prompt": ""}
        return
    hints = hints_of(row, are_given=has_hints)
    yield {**row, "question": EXPLAIN, "prompt": prompt.explain(hints)}
    yield {**row, "known": "", "question": LABEL, "prompt": prompt.ask_label(hints)}
