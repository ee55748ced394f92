"""Turns aligned crops into the numbers an encoder reads, as a checkpoint's preprocessing.json says."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from expllm.faces import CROP_PX


@dataclass(frozen=True)
class Preprocessing:
    """How the crops were made and normalised that a model was trained on; labelling must do the same."""

    crop: str = "similarity of eyes and mouth"
    size_px: int = CROP_PX
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    decoder: str = "pillow"

    @classmethod
    def read(cls, file: Path) -> "Preprocessing":
        """Read a checkpoint's preprocessing.json."""
        fields = json.loads(file.read_text())
        return cls(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})

    def write(self, file: Path) -> None:
        """Write preprocessing.json."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def normalise(self, pixels: Float32[Tensor, "faces 3 h w"]) -> Float32[Tensor, "faces 3 h w"]:
        """Pixels 0..1 into what the encoder reads."""
        return (pixels - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


def to_pixels(crops: UInt8[np.ndarray, "faces h w 3"]) -> Float32[Tensor, "faces 3 h w"]:
    """Crops as a tensor of pixels 0..1."""
    return torch.from_numpy(np.array(crops)).permute(0, 3, 1, 2).float() / 255
