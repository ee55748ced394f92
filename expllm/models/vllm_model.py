"""The model inside vLLM: pixels or a tower's patch features, projected, into vLLM's own language model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.models.llava import LlavaProcessor
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageEmbeddingItems, ModalityDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)

from expllm.models.architecture import (
    ExpllmConfig,
    feature_width,
    load_tower,
    num_image_tokens,
    patch_features,
)


class _Parser(MultiModalDataParser):
    """Reads images, and features: float16 arrays, or tensors, of the shape that this encoder gives."""

    def __init__(self, config: ExpllmConfig) -> None:
        super().__init__()
        self._tokens = num_image_tokens(config)
        self._widths = (feature_width(config), config.text_config.hidden_size)

    def _parse_image_data(self, data: Any) -> ModalityDataItems[Any, Any] | None:
        is_features = isinstance(data, np.ndarray) and data.dtype == np.float16  # pixels are never that
        items = super()._parse_image_data(torch.from_numpy(data.copy()) if is_features else data)
        if isinstance(items, ImageEmbeddingItems):
            for index in range(len(items)):
                self._check(items.get(index))
        return items

    def _check(self, features: Tensor) -> None:
        tokens, width = features.shape[-2:]
        if tokens != self._tokens or width not in self._widths:
            raise ValueError(
                f"features are {tokens} x {width}; this model takes {self._tokens} x {self._widths[0]} "
                f"(the encoder's) or {self._tokens} x {self._widths[1]} (projected)"
            )


class _Info(BaseProcessingInfo):
    def get_hf_config(self) -> ExpllmConfig:
        return self.ctx.get_hf_config(ExpllmConfig)

    def get_hf_processor(self, **kwargs: object) -> LlavaProcessor:
        return self.ctx.get_hf_processor(LlavaProcessor, **kwargs)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": 1}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return {"image": num_image_tokens(self.get_hf_config())}

    def get_data_parser(self) -> MultiModalDataParser:
        return _Parser(self.get_hf_config())


class _DummyInputs(BaseDummyInputsBuilder[_Info]):
    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return str(self.info.get_hf_processor().image_token) * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        size = self.info.get_hf_config().vision_config.image_size
        count = mm_counts.get("image", 0)
        options = mm_options.get("image")
        return {"image": self._get_dummy_images(width=size, height=size, num_images=count, overrides=options)}


class _Processor(BaseMultiModalProcessor[_Info]):
    def _get_mm_fields_config(
        self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        batched = MultiModalFieldConfig.batched("image")
        return {"pixel_values": batched, "image_embeds": batched}

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[PromptReplacement]:
        config = self.info.get_hf_config()
        places = [config.image_token_index] * num_image_tokens(config)
        return [PromptReplacement(modality="image", target=[config.image_token_index], replacement=places)]


@MULTIMODAL_REGISTRY.register_processor(_Processor, info=_Info, dummy_inputs=_DummyInputs)
class ExpllmForConditionalGeneration(nn.Module, SupportsLoRA, SupportsMultiModal, SupportsPP):
    """The registered architecture; it loads the same files as the class of that name in architecture.py.

    An image of a request is a picture, or features: encoder tokens x encoder width, or already projected.
    """

    packed_modules_mapping: ClassVar = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "model.language_model.": "language_model.model.",
            "model.multi_modal_projector.": "multi_modal_projector.",
            "lm_head.": "language_model.lm_head.",
        }
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """The image's place in a chat."""
        if modality.startswith("image"):
            return "<image>"
        raise ValueError(f"this model reads images, not {modality}")

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: ExpllmConfig = vllm_config.model_config.hf_config
        self.config = config
        text = config.text_config
        self.configure_mm_token_handling(text.vocab_size, [config.image_token_index])
        with self._mark_tower_model(vllm_config, "image"):
            self.vision_tower = AutoModel.from_config(config.vision_config)
            self.multi_modal_projector = LlavaMultiModalProjector(config)
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config, hf_config=text, prefix=maybe_prefix(prefix, "language_model")
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def embed_multimodal(self, **kwargs: Any) -> Sequence[Tensor]:
        """Each image of the batch as tokens of the language model's width."""
        pixel_values, features = kwargs.get("pixel_values"), kwargs.get("image_embeds")
        weight = self.multi_modal_projector.linear_1.weight
        if pixel_values is not None:
            encoded = patch_features(self.vision_tower, self.config, pixel_values.to(weight))
            return tuple(self.multi_modal_projector(encoded))
        if features is None:
            return ()
        return tuple(self._project(item.to(weight).flatten(end_dim=-2)) for item in features)

    def _project(self, features: Tensor) -> Tensor:
        is_raw = features.shape[-1] == feature_width(self.config)
        return self.multi_modal_projector(features) if is_raw else features

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Any:
        """One pass of the language model over embedded prompts."""
        embedded = None if intermediate_tensors is not None else inputs_embeds
        return self.language_model.model(input_ids, positions, intermediate_tensors, inputs_embeds=embedded)

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """The language model's head."""
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load a checkpoint: the tower by Transformers, which knows the names on disk, the rest by vLLM."""
        tower: dict[str, Tensor] = {}
        loaded = AutoWeightsLoader(self).load_weights(
            _without_tower(weights, tower), mapper=self.hf_to_vllm_mapper
        )
        read = load_tower(self.config.vision_config, tower).state_dict()
        own = next(self.vision_tower.parameters())
        self.vision_tower.load_state_dict({name: tensor.to(own) for name, tensor in read.items()})
        return loaded | {f"vision_tower.{name}" for name, _ in self.vision_tower.named_parameters()}

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which part is what, for adapters."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="multi_modal_projector", tower_model="vision_tower"
        )


def _without_tower(
    weights: Iterable[tuple[str, Tensor]], tower: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in weights:
        if name.startswith("model.vision_tower."):
            tower[name.removeprefix("model.vision_tower.")] = tensor
        else:
            yield name, tensor
