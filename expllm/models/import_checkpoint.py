"""The published ExpLLM checkpoint into a folder of ours: adapters merged, names as Transformers has them."""

import math
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional
from transformers import Dinov2Config

from expllm.errors import CallerError, RunError
from expllm.models import assembly, checkpoint
from expllm.models.architecture import ExpllmConfig, ExpllmForConditionalGeneration
from expllm.models.llama_tokenizer import FILES, llama_tokenizer
from expllm.models.preprocessing import read_object
from expllm.models.published import (
    HEAD_WIDTH,
    POSITIONS,
    Origin,
    PublishedConfig,
    is_computed,
    origin,
    stored_name,
    tower,
)
from expllm.models.weight_files import PlannedTensor, StoredTensor, size_bytes, stored_tensors, write_shards

Stored = Mapping[str, StoredTensor]
"""The published tensors by their names."""
_TOWER, _CONFIG = "vision_model.", "config.json"
NOTE = (
    "Imported. It was trained with another prompt than this project's: a system line, `Image:` and the "
    "picture's tokens, then TASK, USER and ASSISTANT, the label asked for by a question of its own. Its "
    "answers need not follow this project's grammar, and those that do not are rejected; its temperature is "
    "not fitted. `expllm evaluate` tells how well it does here. How much around a face it was shown is not "
    "published: crops are 1.2 times the face's box. Its licences are those of its parts: Llama 2's for "
    "Vicuna, Apache-2.0 for DINOv2, and the authors' own for what they trained."
)


def import_checkpoint(
    source: Path,
    target: Path,
    *,
    language_model: Path | None = None,
    vision_tower: Path | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write `target`, whole or not at all; one shard of it is in memory at a time.

    Args:
        source: Folder of one published checkpoint: config.json and weights, all of them or the trained ones.
        language_model: Folder of the language model it stands on, for what `source` lacks.
        vision_tower: DINOv2's published file (its own names, query, key and value in one), for the same.
        dtype: Of the tensors that are written.

    Raises:
        CallerError: something given is not what it should be, or does not fit; nothing was written.
        RunError: writing broke off; nothing was left.
    """
    if target.exists():
        raise CallerError(f"{target}: is there already; name a folder that is not")
    published = _published(source)
    stored = _stored(source, language_model, vision_tower)
    tokenizer = llama_tokenizer(_tokenizer_folder(source, language_model), published.vocab_size)
    config = assembly.new_config(
        _tower(stored, published), published.language_model(), tokenizer.image_token_id
    )
    config.dtype = dtype
    planned = _planned(config, published, stored)
    with _beside(target, size_bytes(planned, dtype)) as folder:
        write_shards(folder, planned, dtype)
        config.save_pretrained(folder)
        card = {"name": target.name, "imported_from": source.resolve().name, "note": NOTE, "temperature": 1.0}
        assembly.save_companions(folder, config, tokenizer, published.preprocessing(), card)
        checkpoint.check(folder)


def resized_positions(positions: Tensor, side: int) -> Tensor:
    """Position embeddings for `side` x `side` patches, as the published code makes them at every step.

    Args:
        positions: 1 x (1 + patches) x width: the class token's, then those of a square of patches.

    Source:
        It scales by (side + 0.1) / old side, and the tenth shifts the places that are read a little.
    """
    old = math.isqrt(positions.shape[1] - 1)
    if old == side:
        return positions
    square = positions[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    scale = (side + 0.1) / old
    square = functional.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1].float(), square.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _published(source: Path) -> PublishedConfig:
    if not (source / _CONFIG).is_file():
        raise CallerError(f"{source}: holds no {_CONFIG}; name the folder of one published checkpoint")
    fields = read_object(source / _CONFIG)
    if fields.get("architectures") != list(PublishedConfig().architectures):
        raise CallerError(
            f"{source}: the architecture is {fields.get('architectures')}, and the published ExpLLM's is "
            f"{list(PublishedConfig().architectures)}"
        )
    try:
        published = PublishedConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CallerError(
            f"{source / _CONFIG}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    if published.hidden_size % published.num_attention_heads:
        raise CallerError(f"{source / _CONFIG}: num_attention_heads does not divide hidden_size")
    return published


def _stored(source: Path, language_model: Path | None, vision_tower: Path | None) -> Stored:
    """All tensors by their published names; what `source` has was trained, and wins."""
    stored: dict[str, StoredTensor] = {}
    if language_model is not None:
        stored |= _base(language_model, "")
    if vision_tower is not None:
        stored |= _base(vision_tower, _TOWER)
    stored |= stored_tensors(source)
    return {name: tensor for name, tensor in stored.items() if not is_computed(name)}


def _base(path: Path, prefix: str) -> Stored:
    if not path.exists():
        raise CallerError(f"{path}: is not there; name the base model's folder or file")
    return {f"{prefix}{name}": tensor for name, tensor in stored_tensors(path).items()}


def _tokenizer_folder(source: Path, language_model: Path | None) -> Path:
    for folder in (source, language_model):
        if folder is not None and any((folder / name).is_file() for name in FILES):
            return folder
    raise CallerError(
        f"{source}: holds no tokenizer ({' or '.join(FILES)}); name Vicuna's folder with --language-model"
    )


def _tower(stored: Stored, published: PublishedConfig) -> Dinov2Config:
    """The tower's shape as its tensors tell it."""
    needed = [f"{_TOWER}{name}" for name in ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")]
    if missing := [name for name in needed if name not in stored]:
        raise _lacks(missing)
    patches, mlp = (stored[name] for name in needed)
    if not _fit(patches.shape, mlp.shape, published.crop_size):
        raise CallerError(
            f"{patches.file}: holds no DINOv2 tower: {needed[0]} is {_by(patches.shape)}, "
            f"{needed[1]} {_by(mlp.shape)}"
        )
    depth = sum(name.startswith(f"{_TOWER}blocks.") and name.endswith(".mlp.fc1.weight") for name in stored)
    width, patch_px = patches.shape[0], patches.shape[-1]
    return tower(width, depth, patch_px, published.crop_size, mlp.shape[0] // width)


def _fit(patches: tuple[int, ...], mlp: tuple[int, ...], crop_px: int) -> bool:
    if len(patches) != 4 or len(mlp) != 2 or 0 in (*patches, *mlp):
        return False
    return patches[0] % HEAD_WIDTH == 0 and mlp[0] % patches[0] == 0 and patches[3] <= crop_px


def _planned(config: ExpllmConfig, published: PublishedConfig, stored: Stored) -> list[PlannedTensor]:
    with torch.device("meta"):
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in ExpllmForConditionalGeneration(config).state_dict().items()
        }
    origins = {name: origin(name) for name in shapes}
    needed = {name for one in origins.values() for name in one.names}
    if missing := sorted(needed - stored.keys()):
        raise _lacks(missing)
    if left := sorted(stored.keys() - needed):
        raise CallerError(
            f"{stored[left[0]].file}: {left[0]}{_and_more(left)} has no place in the published ExpLLM"
        )
    for name, one in origins.items():
        _check_shapes(one, shapes[name], published, stored)
    return [
        PlannedTensor(stored_name(name), shapes[name], partial(_made, one, shapes[name], published, stored))
        for name, one in origins.items()
    ]


def _lacks(names: list[str]) -> CallerError:
    return CallerError(
        f"{names[0]}{_and_more(names)} is missing; if it is the base model's, name that with "
        "--language-model or --vision-tower"
    )


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _check_shapes(one: Origin, shape: tuple[int, ...], published: PublishedConfig, stored: Stored) -> None:
    wanted = {one.weight: shape if one.third is None else (3 * shape[0], *shape[1:])}
    if one.weight == POSITIONS:
        side = math.isqrt(max(stored[POSITIONS].shape[1] - 1, 1)) if len(stored[POSITIONS].shape) == 3 else 1
        wanted = {POSITIONS: (1, 1 + side**2, shape[2])}
    if one.factors is not None:
        rank = published.lora_vision_r if one.third is not None else published.lora_llm_r
        wanted |= {one.factors[0]: (rank, shape[1]), one.factors[1]: (shape[0], rank)}
    for name, expected in wanted.items():
        found = stored[name]
        if found.shape != expected:
            raise CallerError(f"{found.file}: {name} is {_by(found.shape)}, and must be {_by(expected)}")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _made(one: Origin, shape: tuple[int, ...], published: PublishedConfig, stored: Stored) -> Tensor:
    weight = stored[one.weight].read()
    if one.weight == POSITIONS:
        return resized_positions(weight, math.isqrt(shape[1] - 1))
    if one.third is not None:
        weight = weight.chunk(3)[one.third]
    if one.factors is None:
        return weight
    a, b = (stored[name].read().float() for name in one.factors)
    return weight.float() + _scale(one, published) * (b @ a)


def _scale(one: Origin, published: PublishedConfig) -> float:
    if one.third is not None:
        return published.lora_vision_alpha / published.lora_vision_r
    return published.lora_llm_alpha / published.lora_llm_r


@contextmanager
def _beside(target: Path, needed_bytes: int) -> Iterator[Path]:
    """A new folder beside `target` that takes its place once it is whole, and is gone in any other case."""
    partial_folder = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        partial_folder.mkdir(parents=True)
    except OSError as error:
        raise CallerError(f"{target}: cannot be made ({error.strerror}); name another place") from error
    try:
        free_bytes = shutil.disk_usage(partial_folder).free
        if free_bytes < needed_bytes:
            raise CallerError(
                f"{target}: takes {needed_bytes / 1e9:.1f} GB, and {free_bytes / 1e9:.1f} GB are free there; "
                "make room, or name a place on another disk"
            )
        yield partial_folder
        partial_folder.rename(target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(f"{target}: could not be written ({reason}); nothing was left there") from error
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
