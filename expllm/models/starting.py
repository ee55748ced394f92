"""A training's configuration -> the model that it starts from, with its tokenizer and its preprocessing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    Dinov2Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from expllm.errors import CallerError
from expllm.faces import ALIGNED, SQUARE
from expllm.models import assembly
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.chat_tokenizer import chat_tokenizer
from expllm.models.checkpoint import Checkpoint, resolve
from expllm.models.import_checkpoint import resized_positions
from expllm.models.preprocessing import Preprocessing, read_object
from expllm.train_config import TrainConfig

_CROPS = {"aligned": ALIGNED, "square": SQUARE}
_POSITIONS = "embeddings.position_embeddings"


@dataclass(frozen=True)
class Start:
    """A model that can learn, in bfloat16, and what goes with it."""

    model: ExpllmForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast
    preprocessing: Preprocessing
    checkpoint: Checkpoint | None
    """The model it is a copy of; None where an encoder and a language model meet for the first time."""


def start(config: TrainConfig) -> Start:
    """Load the model, or put it together; a new projector hangs on torch's seed.

    Raises:
        CallerError: a folder is not there, or holds something else than it should.
    """
    found = parts(config)
    if found is None:
        checkpoint = resolve(config.model)
        model = ExpllmForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
        return Start(model, tokenizer, checkpoint.preprocessing, checkpoint)
    disable_progress_bar()
    encoder, language_model = found
    decoder = _loaded(AutoModelForCausalLM, language_model, "language_model")
    tokenizer = chat_tokenizer(language_model, decoder.config.vocab_size)
    tower = _tower(encoder, _tower_config(encoder), config.image_px)
    model = assembly.new_model(tower.config, decoder, tokenizer)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    return Start(model, tokenizer, preprocessing(config), None)


def parts(config: TrainConfig) -> tuple[Path, Path] | None:
    """The folders of encoder and language model that are put together; None where there is a model already.

    Raises:
        CallerError: one is named without the other, or is no folder of a model.
    """
    if config.encoder is None and config.language_model is None:
        return None
    if config.encoder is None or config.language_model is None:
        raise CallerError("encoder and language_model go together: name both, or `model` alone")
    for key, folder in (("encoder", config.encoder), ("language_model", config.language_model)):
        if not Path(folder, "config.json").is_file():
            raise CallerError(
                f"{key} {folder}: holds no config.json; name the folder of a Hugging Face model"
            )
    return Path(config.encoder), Path(config.language_model)


def preprocessing(config: TrainConfig) -> Preprocessing:
    """How pictures are made for the model; no weights are loaded.

    Raises:
        CallerError: there is no such model, or its encoder cannot read crops of the configured size.
    """
    found = parts(config)
    if found is None:
        return resolve(config.model).preprocessing
    tower = _tower_config(found[0])
    if config.image_px not in (None, tower.image_size) and not isinstance(tower, Dinov2Config):
        raise CallerError(
            f"image_px {config.image_px}: encoder {config.encoder} reads {tower.image_size} px alone"
        )
    file = found[0] / "preprocessor_config.json"
    kept = read_object(file) if file.exists() else {}
    usual = Preprocessing()
    return Preprocessing(
        crop=_CROPS[config.crop],
        size_px=config.image_px or tower.image_size,
        mean=config.pixel_mean or tuple(kept.get("image_mean", usual.mean)),
        std=config.pixel_std or tuple(kept.get("image_std", usual.std)),
    )


def _tower_config(folder: Path) -> PreTrainedConfig:
    config = _loaded(AutoConfig, folder, "encoder")
    vision = getattr(config, "vision_config", config)  # CLIP's and SigLIP's folders hold a text tower besides
    if not hasattr(vision, "image_size") or not hasattr(vision, "patch_size"):
        raise CallerError(f"encoder {folder}: is a {config.model_type}, and no vision tower")
    return vision


def _tower(folder: Path, config: PreTrainedConfig, image_px: int | None) -> PreTrainedModel:
    """The tower with its weights, its position embeddings made for crops of `image_px`."""
    tower = _loaded(AutoModel._model_mapping[type(config)], folder, "encoder", config=config)
    if image_px in (None, config.image_size):
        return tower
    weights = tower.state_dict()
    weights[_POSITIONS] = resized_positions(weights[_POSITIONS], image_px // config.patch_size)
    resized = AutoModel.from_config(type(config)(**{**config.to_dict(), "image_size": image_px}))
    resized.load_state_dict(weights)
    return resized


def _loaded(kind: Any, folder: Path, key: str, **settings: Any) -> Any:
    of_weights = {} if kind is AutoConfig else {"dtype": torch.bfloat16, "use_safetensors": True}
    try:
        return kind.from_pretrained(folder, local_files_only=True, **of_weights, **settings)
    except (OSError, ValueError, KeyError) as error:
        raise CallerError(f"{key} {folder}: cannot be read ({str(error).splitlines()[0]})") from error
