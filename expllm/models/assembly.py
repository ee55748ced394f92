"""Encoder, projector, adapter and language model into one model: bundled, and as a Hugging Face folder."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BitImageProcessorPil,
    GenerationConfig,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights
from transformers.utils.logging import disable_progress_bar

from expllm.models import base
from expllm.models.architecture import (
    ARCHITECTURE,
    ExpllmConfig,
    ExpllmForConditionalGeneration,
    num_image_tokens,
)
from expllm.models.preprocessing import Preprocessing

CONFIG, PREPROCESSING, CARD = "config.json", "preprocessing.json", "card.json"
ENCODER, PROJECTOR, ADAPTER = "encoder.safetensors", "projector.safetensors", "adapter.safetensors"
PARTS = (CONFIG, PREPROCESSING, ENCODER, PROJECTOR, ADAPTER)
"""What makes a bundled model, beside the temperature on its card."""


def new_model(
    encoder: PreTrainedConfig, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> ExpllmForConditionalGeneration:
    """A model with this language model, and with an encoder and a projector that know nothing yet."""
    config = new_config(encoder, language_model.config, tokenizer.image_token_id)
    model = ExpllmForConditionalGeneration(config).to(language_model.dtype)
    model.model.language_model.load_state_dict(language_model.model.state_dict())
    model.lm_head.load_state_dict(language_model.lm_head.state_dict())
    model.tie_weights()
    return model


def new_config(
    encoder: PreTrainedConfig, language_model: PreTrainedConfig, image_token_id: int
) -> ExpllmConfig:
    """The configuration of a model whose projector reads the encoder's tokens after its final norm."""
    config = ExpllmConfig(
        vision_config=encoder,
        text_config=language_model,
        image_token_index=image_token_id,
        vision_feature_layer=-1,
        vision_feature_norm=True,
        vision_feature_select_strategy="default",
        architectures=[ARCHITECTURE],
    )
    config.image_seq_length = num_image_tokens(config)
    return config


def save_bundle(
    folder: Path,
    config: ExpllmConfig,
    preprocessing: Preprocessing,
    parts: dict[str, dict[str, Tensor]],
    card: dict[str, object],
) -> None:
    """Write what was trained, in bfloat16, without the language model it stands on.

    Args:
        parts: Tensors by file name: ENCODER, PROJECTOR, ADAPTER (see `adapter_tensors`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    preprocessing.write(folder / PREPROCESSING)
    for name, tensors in parts.items():
        save_file(
            {key: t.detach().to(torch.bfloat16).contiguous() for key, t in tensors.items()}, folder / name
        )
        (folder / name).chmod(0o644)  # safetensors writes files for their owner alone
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def adapter_tensors(adapted: nn.Module) -> dict[str, Tensor]:
    """Each adapted layer's factors `LAYER.a` (r x in) and `LAYER.b` (out x r), which holds the scale."""
    tensors = {}
    for name, module in adapted.named_modules():
        if hasattr(module, "lora_A"):
            layer = name.removeprefix("base_model.model.")
            tensors[f"{layer}.a"] = module.lora_A["default"].weight
            tensors[f"{layer}.b"] = module.lora_B["default"].weight * module.scaling["default"]
    return tensors


def merge(model: nn.Module, adapter: dict[str, Tensor]) -> None:
    """Add each adapter's product to its layer's weight."""
    for name in {key.rsplit(".", 1)[0] for key in adapter}:
        weight = model.get_parameter(f"{name}.weight")
        weight.data += (adapter[f"{name}.b"].float() @ adapter[f"{name}.a"].float()).to(weight.dtype)


def assemble(bundle: Path, tokenizer: PreTrainedTokenizerFast) -> ExpllmForConditionalGeneration:
    """The whole model of a bundle, in float32."""
    config = ExpllmConfig.from_pretrained(bundle)
    with no_init_weights():  # all are loaded
        model = new_model(config.vision_config, base.language_model(), tokenizer)
    model.model.vision_tower.load_state_dict(load_file(bundle / ENCODER))
    model.model.multi_modal_projector.load_state_dict(load_file(bundle / PROJECTOR))
    merge(model.model.language_model, load_file(bundle / ADAPTER))
    return model


def save_assembled(
    folder: Path,
    model: ExpllmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    card: dict[str, object],
) -> None:
    """Write the full Hugging Face folder that Transformers and vLLM load, in bfloat16."""
    disable_progress_bar()
    model.to(torch.bfloat16).save_pretrained(folder)
    save_companions(folder, model.config, tokenizer, preprocessing, card)


def save_companions(
    folder: Path,
    config: ExpllmConfig,
    tokenizer: PreTrainedTokenizerFast,
    preprocessing: Preprocessing,
    card: dict[str, object],
) -> None:
    """Write what lies beside a full folder's weights and config.json."""
    GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    ).save_pretrained(folder)
    processor(tokenizer, config, preprocessing).save_pretrained(folder)
    preprocessing.write(folder / PREPROCESSING)
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def processor(
    tokenizer: PreTrainedTokenizerFast, config: ExpllmConfig, preprocessing: Preprocessing
) -> LlavaProcessor:
    """Crops and prompts into the model's arguments, for Transformers and for vLLM."""
    size = {"height": preprocessing.size_px, "width": preprocessing.size_px}
    images = BitImageProcessorPil(
        size=size,
        do_center_crop=False,
        image_mean=list(preprocessing.mean),
        image_std=list(preprocessing.std),
    )
    patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=num_image_tokens(config) - patches + _drops_one(config),
    )


def _drops_one(config: ExpllmConfig) -> int:
    return int(config.vision_feature_select_strategy == "default")
