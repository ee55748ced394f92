"""Face crops into the vision tower's patch tokens: the features that cross to the generator."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float16, UInt8
from safetensors import safe_open

from expllm.action_units import to_array, to_intensities
from expllm.errors import CallerError
from expllm.facs import Intensities
from expllm.models.architecture import (
    ExpllmConfig,
    feature_width,
    load_tower,
    num_image_tokens,
    patch_features,
)
from expllm.models.checkpoint import ACTION_UNITS, Checkpoint
from expllm.models.preprocessing import to_pixels
from expllm.models.tower import FaceTowerConfig
from expllm.unit_reader import UnitReader

_PREFIX = "model.vision_tower."


def _fitting(reader: UnitReader | None, config: ExpllmConfig, name: str) -> UnitReader | None:
    if reader is not None and not isinstance(config.vision_config, FaceTowerConfig):
        raise CallerError(
            f"{name}: its {ACTION_UNITS} reads the features of a FaceTower, and its encoder is a "
            f"{config.vision_config.model_type}: remove the file"
        )
    return reader


class Encoder:
    """A checkpoint's vision tower, in float32, and its reader of action units; nothing else is loaded.

    Raises:
        CallerError: the reader belongs to another encoder.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self._config = ExpllmConfig.from_pretrained(checkpoint.path)
        self._preprocessing = checkpoint.preprocessing
        self._unit_reader = _fitting(checkpoint.unit_reader(), self._config, checkpoint.name)
        self._device = device
        tensors = {}
        for file in sorted(checkpoint.path.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118 - the file is no mapping
                    if name.startswith(_PREFIX):
                        tensors[name.removeprefix(_PREFIX)] = weights.get_tensor(name).float()
        self._tower = load_tower(self._config.vision_config, tensors).float().eval().to(device)

    @property
    def feature_shape(self) -> tuple[int, int]:
        """Tokens and width of one face's features."""
        return num_image_tokens(self._config), feature_width(self._config)

    @property
    def crop_px(self) -> int:
        """Width and height of the crops it reads."""
        return self._preprocessing.size_px

    def read(
        self, crops: UInt8[np.ndarray, "faces size size 3"], measured: Sequence[Intensities]
    ) -> tuple[Float16[np.ndarray, "faces tokens width"], list[Intensities]]:
        """Encode crops, and join the movements that landmarks give with what the features show of them.

        A checkpoint that cannot read action units leaves them as they are measured.
        """
        features = self.encode(crops)
        if self._unit_reader is None or not measured:
            return features, list(measured)
        joined = self._unit_reader.join(features, to_array(measured))
        return features, [to_intensities(row) for row in joined]

    def encode(
        self, crops: UInt8[np.ndarray, "faces size size 3"]
    ) -> Float16[np.ndarray, "faces tokens width"]:
        """Encode crops as the checkpoint's Cut makes them; no faces give an empty array."""
        if len(crops) == 0:
            return np.zeros((0, *self.feature_shape), np.float16)
        if crops.shape[1] != self.crop_px:
            raise ValueError(f"crops are {crops.shape[1]} px wide, and this encoder reads {self.crop_px} px")
        pixel_values = self._preprocessing.normalise(to_pixels(crops)).to(self._device)
        with torch.inference_mode():
            features = patch_features(self._tower, self._config, pixel_values)
        return features.to("cpu", torch.float16).numpy()
