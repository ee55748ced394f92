"""The published ExpLLM: its shapes, what was trained of it, and what its tensors are called."""

import re
from dataclasses import dataclass
from typing import Literal

from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from transformers import Dinov2Config, LlamaConfig

from expllm.faces import SQUARE
from expllm.models.preprocessing import Preprocessing

ADAPTED = ("q_proj", "v_proj")
"""The layers with adapters, by their names in our model: in every block of the tower and of the decoder."""
HEAD_WIDTH = 64
"""Of every DINOv2 tower; the published files do not say it."""
POSITIONS = "vision_model.pos_embed"
_LLAMA_FIELDS = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
    "max_position_embeddings rms_norm_eps rope_theta tie_word_embeddings"
).split()
_TOWER = r"model\.vision_tower\."
_BLOCK = _TOWER + r"encoder\.layer\.(\d+)\."
_RENAMED = (
    (r"model\.language_model\.", "model."),
    (r"model\.multi_modal_projector\.linear_1\.", "mm_projector.0."),
    (r"model\.multi_modal_projector\.linear_2\.", "mm_projector.2."),
    (_BLOCK + r"attention\.o_proj\.", r"vision_model.blocks.\1.attn.proj."),
    (_BLOCK + r"layer_scale(\d)\.lambda1", r"vision_model.blocks.\1.ls\2.gamma"),
    (_BLOCK, r"vision_model.blocks.\1."),
    (_TOWER + r"embeddings\.patch_embeddings\.projection\.", "vision_model.patch_embed.proj."),
    (_TOWER + r"embeddings\.position_embeddings", POSITIONS),
    (_TOWER + r"embeddings\.", "vision_model."),
    (_TOWER + r"layernorm\.", "vision_model.norm."),
)
_STORED = (
    (".attention.q_proj.", ".attention.attention.query."),
    (".attention.k_proj.", ".attention.attention.key."),
    (".attention.v_proj.", ".attention.attention.value."),
    (".attention.o_proj.", ".attention.output.dense."),
)


class PublishedConfig(BaseModel):
    """The published config.json as far as it matters; the defaults are those of the published model.

    Source:
        The paper's repository: Vicuna-7B-v1.5, adapters of rank 8 and scale 16 / 8 on query and value.
    """

    model_config = ConfigDict(frozen=True)

    architectures: tuple[Literal["LocLLMModel"]] = ("LocLLMModel",)
    vocab_size: PositiveInt = 32000
    hidden_size: PositiveInt = 4096
    intermediate_size: PositiveInt = 11008
    num_hidden_layers: PositiveInt = 32
    num_attention_heads: PositiveInt = 32
    max_position_embeddings: PositiveInt = 4096
    rms_norm_eps: PositiveFloat = 1e-5
    rope_theta: PositiveFloat = 10000.0
    rope_scaling: None = None
    tie_word_embeddings: Literal[False] = False
    lora_llm_r: PositiveInt = 8
    lora_llm_alpha: PositiveFloat = 16
    lora_vision_r: PositiveInt = 8
    lora_vision_alpha: PositiveFloat = 16
    crop_size: PositiveInt = 224

    def language_model(self) -> LlamaConfig:
        """The decoder."""
        fields = self.model_dump(include=set(_LLAMA_FIELDS))
        return LlamaConfig(**fields, bos_token_id=1, eos_token_id=2, pad_token_id=0)

    def preprocessing(self) -> Preprocessing:
        """How pictures are made for it: CLIP's mean and deviation, although the tower is DINOv2's."""
        return Preprocessing(
            crop=SQUARE,
            size_px=self.crop_size,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
        )


def tower(
    width: int = 1024, depth: int = 24, patch_px: int = 14, image_px: int = 224, mlp_ratio: int = 4
) -> Dinov2Config:
    """A DINOv2 tower with its defaults those of the published model: ViT-L/14 with 256 patch tokens."""
    return Dinov2Config(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // HEAD_WIDTH,
        patch_size=patch_px,
        image_size=image_px,
        mlp_ratio=mlp_ratio,
    )


def adapters() -> LoraConfig:
    """The adapters that were trained, in tower and decoder alike; the projector is trained in full."""
    defaults = PublishedConfig()
    return LoraConfig(
        r=defaults.lora_llm_r,
        lora_alpha=int(defaults.lora_llm_alpha),
        lora_dropout=0.05,
        target_modules=list(ADAPTED),
    )


@dataclass(frozen=True)
class Origin:
    """What a tensor of ours is made of, by published names."""

    weight: str
    third: int | None = None
    """Which third of a fused query-key-value tensor is meant, if it is one."""
    factors: tuple[str, str] | None = None
    """The adapter's factors A (rank x in) and B (out x rank), if the layer has one."""

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors that are needed."""
        return (self.weight, *(self.factors or ()))


def origin(name: str) -> Origin:
    """Where a tensor of ours comes from, by the name it has as a module's parameter."""
    fused = re.fullmatch(_BLOCK + r"attention\.([qkv])_proj\.(weight|bias)", name)
    if fused:
        number, letter, kind = fused.groups()
        layer = f"vision_model.blocks.{number}.attn"
        is_adapted = kind == "weight" and f"{letter}_proj" in ADAPTED
        factors = (f"{layer}.lora_A_{letter}", f"{layer}.lora_B_{letter}") if is_adapted else None
        return Origin(f"{layer}.qkv.{kind}", "qkv".index(letter), factors)
    for ours, theirs in _RENAMED:
        name = re.sub(f"^{ours}", theirs, name)
    layer = name.removesuffix(".weight")
    return Origin(name, None, (f"{layer}.lora_A", f"{layer}.lora_B") if layer.endswith(ADAPTED) else None)


def is_computed(name: str) -> bool:
    """Whether a published tensor follows from the configuration: the decoder's rotary frequencies."""
    return name.endswith(".rotary_emb.inv_freq")


def stored_name(name: str) -> str:
    """A parameter's name as Transformers writes it to disk; its older versions read no other."""
    for module, stored in _STORED:
        name = name.replace(module, stored)
    return name
