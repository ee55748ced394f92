"""The model: a tower's patch tokens, projected, take the image's place in a language model's prompt."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import LlavaModel, LlavaPreTrainedModel
from transformers.utils.logging import disable_progress_bar

from expllm.models.tower import FaceTower, FaceTowerConfig

ARCHITECTURE = "ExpllmForConditionalGeneration"

# A checkpoint's configuration names its tower by type, so whoever can read it must know ours.
AutoConfig.register(FaceTowerConfig.model_type, FaceTowerConfig, exist_ok=True)
AutoModel.register(FaceTowerConfig, FaceTower, exist_ok=True)


class ExpllmConfig(LlavaConfig):
    """LLaVA's configuration and one field more."""

    model_type = "expllm"

    vision_feature_norm: bool = True
    """Whether the projector reads the tower's tokens after its final layer norm, as in the paper."""


def num_image_tokens(config: LlavaConfig) -> int:
    """How many tokens one face takes in the prompt."""
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    registers = getattr(vision, "num_register_tokens", 0)
    return int(patches + registers + (_has_class_token(config) and not _drops_class_token(config)))


def _has_class_token(config: LlavaConfig) -> bool:
    return config.vision_config.model_type not in ("siglip_vision_model", FaceTowerConfig.model_type)


def _drops_class_token(config: LlavaConfig) -> bool:
    return _has_class_token(config) and config.vision_feature_select_strategy == "default"


def feature_width(config: LlavaConfig) -> int:
    """The width of the tokens that the projector reads."""
    layers = config.vision_feature_layer
    num_layers = 1 if config.vision_feature_norm or isinstance(layers, int) else len(layers)
    return int(config.vision_config.hidden_size) * num_layers


def patch_features(
    tower: nn.Module, config: LlavaConfig, pixel_values: Tensor, shown: Tensor | None = None
) -> Tensor:
    """The tower's tokens as the projector reads them, faces x tokens x width.

    The strategy "default" drops the class token, where the tower has one; registers stay.

    Args:
        shown: which branches of a FaceTower are shown; None for all, and for any other tower.
    """
    if config.vision_feature_norm:
        kept = {} if shown is None else {"shown": shown}
        tokens = tower(pixel_values, **kept).last_hidden_state
    else:
        layers = config.vision_feature_layer
        states = tower(pixel_values, output_hidden_states=True).hidden_states
        tokens = torch.cat([states[i] for i in ([layers] if isinstance(layers, int) else layers)], dim=-1)
    return tokens[:, 1:] if _drops_class_token(config) else tokens


def load_tower(config: PreTrainedConfig, tensors: dict[str, Tensor]) -> PreTrainedModel:
    """A tower with the weights of a checkpoint, under the names they have on disk, without their prefix.

    Raises:
        ValueError: weights are missing, left over, or of another shape.
    """
    disable_progress_bar()
    # Transformers 5 writes other names than its modules have, and only from_pretrained knows both.
    tower_class = AutoModel._model_mapping[type(config)]
    tower, info = tower_class.from_pretrained(
        None, config=config, state_dict=tensors, output_loading_info=True
    )
    wrong = {problem: names for problem, names in info.items() if names}
    if wrong:
        raise ValueError(f"the vision tower's weights do not fit: {wrong}")
    return tower


class ExpllmModel(LlavaModel):
    """LLaVA without its language-model head, reading the tower as the configuration says."""

    config: ExpllmConfig

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Encode and project pixels; which layer is read stands in the configuration alone."""
        return self.project(patch_features(self.vision_tower, self.config, pixel_values))

    def project(self, features: Tensor) -> BaseModelOutputWithPooling:
        """Project raw patch features (faces x tokens x width), as `mm_encoder_outputs` takes them."""
        weight = self.multi_modal_projector.linear_1.weight
        projected = self.multi_modal_projector(features.to(weight.device, weight.dtype))
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=list(projected))


class ExpllmForConditionalGeneration(LlavaForConditionalGeneration):
    """The whole model, for training and for loading by Transformers; vLLM runs its own (vllm_model.py).

    `forward` and `generate` take pixel_values, or raw patch features as
    `mm_encoder_outputs={"image": model.project(features)}`.
    """

    config: ExpllmConfig
    config_class = ExpllmConfig

    def __init__(self, config: ExpllmConfig) -> None:
        LlavaPreTrainedModel.__init__(self, config)
        self.model = ExpllmModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def project(self, features: Tensor) -> BaseModelOutputWithPooling:
        """Project raw patch features, as `mm_encoder_outputs` takes them."""
        return self.model.project(features)
