"""What cannot be imported is named in one line, and nothing is left of it."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from expllm.errors import CallerError, RunError
from expllm.models.import_checkpoint import import_checkpoint


@pytest.fixture
def source(reference: ModuleType, tmp_path: Path) -> Path:
    return reference.save(tmp_path / "ckpt", reference.tensors())


def _refused(source: Path, told: str) -> None:
    with pytest.raises(CallerError, match=told) as error:
        import_checkpoint(source, source.parent / "out")
    assert "\n" not in str(error.value)
    assert not [file for file in source.parent.iterdir() if "out" in file.name]


_LAYER = "model.layers.0.self_attn"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({f"{_LAYER}.v_proj.lora_B": None}, r"layers\.0\.self_attn\.v_proj\.lora_B is missing"),
        ({"vision_model.blocks.0.attn.lora_A_q": None}, r"blocks\.0\.attn\.lora_A_q is missing"),
        ({"vision_model.patch_embed.proj.weight": None}, r"patch_embed\.proj\.weight is missing.*--vision-t"),
        ({"mm_projector.0.weight": torch.zeros(64, 64)}, "is 64 x 64, and must be 64 x 128"),
        ({"vision_model.pos_embed": torch.zeros(1, 25, 128)}, "pos_embed is 1 x 25 x 128"),
        ({"vision_model.pos_embed": torch.zeros(128)}, "pos_embed is 128, and must"),
        ({"vision_model.blocks.1.attn.qkv.weight": torch.zeros(128, 128)}, "must be 384 x 128"),
        ({f"{_LAYER}.q_proj.lora_A": torch.zeros(8, 64)}, "lora_A is 8 x 64, and must be 4 x 64"),
        ({"vision_model.patch_embed.proj.weight": torch.zeros(96, 3, 14, 14)}, "no DINOv2 tower"),
        ({"vision_model.patch_embed.proj.weight": torch.tensor(1.0)}, "no DINOv2 tower"),
        ({"model.layers.2.mlp.up_proj.weight": torch.zeros(1)}, r"2\.mlp\.up_proj\.weight has no place"),
        ({"extra.a": torch.zeros(1), "extra.b": torch.zeros(1)}, r"extra\.a \(and 1 more\) has no place"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    reference: ModuleType, tmp_path: Path, changes: dict[str, torch.Tensor | None], told: str
) -> None:
    changed = {**reference.tensors(), **changes}
    source = reference.save(
        tmp_path / "ckpt", {name: tensor for name, tensor in changed.items() if tensor is not None}
    )
    _refused(source, told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architectures": ["LlavaLlamaForCausalLM"]}, "LlavaLlamaForCausalLM.*LocLLMModel"),
        ({"architectures": None}, "architecture is None"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_scaling"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hidden_size": 32}, "must be 32"),
        ({"num_attention_heads": 3}, "num_attention_heads"),
        ({"vocab_size": 300}, "tokenizer has 420 tokens, the model 300"),
    ],
)
def test_another_architecture_is_refused(
    source: Path, reference: ModuleType, changes: dict[str, object], told: str
) -> None:
    (source / "config.json").write_text(json.dumps(reference.CONFIG | changes))
    _refused(source, told)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("config.json", None, "no config.json"),
        ("model.safetensors", None, "no weights"),
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0{}", "no whole safetensors file"),
        ("tokenizer.model", None, "no tokenizer.*--language-model"),
        ("tokenizer.model", b"not a model", "tokenizer cannot be read"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../b"}}', "weight_map"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused(
    source: Path, file: str, content: bytes | None, told: str
) -> None:
    (source / file).unlink(missing_ok=True)
    if content is not None:
        (source / file).write_bytes(content)
    _refused(source, told)


class _Trap:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch trapped",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"model.norm.weight": _Trap()}, "weights_only=True"),
        ({"model": {"norm": torch.zeros(1)}}, "no plain table of tensors"),
        ([torch.zeros(1)], "no plain table of tensors"),
    ],
)
def test_a_pickle_of_anything_but_tensors_is_refused_and_runs_nothing(
    source: Path, monkeypatch: pytest.MonkeyPatch, content: object, told: str
) -> None:
    monkeypatch.chdir(source.parent)
    (source / "model.safetensors").unlink()
    torch.save(content, source / "pytorch_model.bin")
    _refused(source, told)
    assert not Path("trapped").exists()


def test_a_broken_pickle_is_refused(source: Path) -> None:
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    _refused(source, r"pytorch_model\.bin")


def test_a_base_model_that_is_not_there_is_named(source: Path) -> None:
    with pytest.raises(CallerError, match="vicuna: is not there"):
        import_checkpoint(source, source.parent / "out", language_model=source / "vicuna")


def test_a_place_that_cannot_be_made_is_named(source: Path) -> None:
    with pytest.raises(CallerError, match="cannot be made"):
        import_checkpoint(source, source / "config.json" / "out")


def test_a_folder_that_is_there_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CallerError, match="there already"):
        import_checkpoint(source, tmp_path / "out")


def test_a_disk_that_fills_up_leaves_nothing(source: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # a write is refused half-way
    try:
        with pytest.raises(RunError, match="could not be written") as error:
            import_checkpoint(source, place / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert list(place.iterdir()) == []
