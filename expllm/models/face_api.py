"""Reads the weights of face-api's expression net: where the default model's vision tower starts.

face-api (MIT, see NOTICE): V. Mühler, face-api.js, 2018; the files are those of @vladmandic/face-api 1.7.15.
"""

import json
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expllm.expressions import Expression

ORDER = (
    Expression.NEUTRAL,
    Expression.HAPPINESS,
    Expression.SADNESS,
    Expression.ANGER,
    Expression.FEAR,
    Expression.DISGUST,
    Expression.SURPRISE,
)
"""What the outputs of its last layer stand for."""
_FOLDER = Path(__file__).parent.parent / "data" / "face_api"


def tensors() -> dict[str, Tensor]:
    """All weights by their names, with filters as PyTorch orders them: out x in x height x width."""
    manifest = json.loads((_FOLDER / "face_expression_model-weights_manifest.json").read_text())
    stored = (_FOLDER / "face_expression_model.bin").read_bytes()
    found, start = {}, 0
    for entry in manifest[0]["weights"]:
        quantised = entry.get("quantization")
        kind = np.uint8 if quantised else np.float32
        values = np.frombuffer(stored, kind, prod(entry["shape"]), start).astype(np.float32)
        start += len(values) * np.dtype(kind).itemsize
        scale, least = (quantised["scale"], quantised["min"]) if quantised else (1, 0)
        tensor = torch.from_numpy(values * np.float32(scale) + np.float32(least))
        found[entry["name"]] = _ordered(tensor.view(entry["shape"]), entry["name"])
    return found


def _ordered(tensor: Tensor, name: str) -> Tensor:
    """TensorFlow keeps filters as h x w x in x out, and depthwise ones as h x w x in x 1."""
    if tensor.ndim != 4:
        return tensor
    return tensor.permute(2, 3, 0, 1) if name.endswith("depthwise_filter") else tensor.permute(3, 2, 0, 1)
