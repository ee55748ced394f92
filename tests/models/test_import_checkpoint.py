"""The published checkpoint, at a tiny size, becomes a folder of ours that computes the same."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from peft import get_peft_model
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoProcessor

from expllm import cli, prompt
from expllm.expressions import EXPRESSIONS
from expllm.models import published
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.assembly import new_config
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from expllm.models.engine import label_token_ids
from expllm.models.import_checkpoint import import_checkpoint
from expllm.models.llama_tokenizer import llama_tokenizer

CROPS = np.random.default_rng(0).integers(0, 255, (2, 56, 56, 3), dtype=np.uint8)


def _is_trained(name: str) -> bool:
    return "lora_" in name or name.startswith("mm_projector")


@pytest.fixture(scope="module")
def source(reference: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.save(tmp_path_factory.mktemp("published") / "ckpt", reference.tensors())


@pytest.fixture(scope="module")
def imported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("imported") / "expllm"
    import_checkpoint(source, target, dtype=torch.float32)
    return target


def _logits(folder: Path, pixels: torch.Tensor, ids: list[int], image_at: int) -> torch.Tensor:
    model = ExpllmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    places = [model.config.image_token_index] * model.config.image_seq_length
    whole = torch.tensor([ids[:image_at] + places + ids[image_at:]])
    with torch.inference_mode():
        return model(input_ids=whole, pixel_values=pixels[None]).logits[0]


def _assert_same(folder: Path, reference: ModuleType) -> None:
    pixels = torch.randn(3, 56, 56, generator=torch.Generator().manual_seed(1))
    ids, image_at = [1, 300, 17, 402, 33, 2], 2
    expected = reference.logits(reference.tensors(), pixels, ids, image_at)
    assert expected.std() > 0.3
    torch.testing.assert_close(_logits(folder, pixels, ids, image_at), expected, atol=1e-4, rtol=0)


def test_the_logits_are_the_same_before_and_after(imported: Path, reference: ModuleType) -> None:
    _assert_same(imported, reference)


def test_pickled_shards_give_the_same_and_what_the_trainer_left_is_not_opened(
    tmp_path: Path, reference: ModuleType
) -> None:
    source = reference.save(tmp_path / "ckpt", reference.tensors(), as_pickles=True)
    import_checkpoint(source, tmp_path / "out", dtype=torch.float32)
    _assert_same(tmp_path / "out", reference)


def test_what_was_trained_is_laid_upon_the_base_models(tmp_path: Path, reference: ModuleType) -> None:
    trained = {name: tensor for name, tensor in reference.tensors().items() if _is_trained(name)}
    frozen = {name: tensor for name, tensor in reference.tensors().items() if not _is_trained(name)}
    source = reference.save(tmp_path / "ckpt", trained)
    (source / "tokenizer.model").unlink()
    language = {name: tensor for name, tensor in frozen.items() if not name.startswith("vision_model.")}
    vicuna = reference.save(tmp_path / "vicuna", language, as_pickles=True)
    tower = {n.removeprefix("vision_model."): t for n, t in frozen.items() if n not in language}
    torch.save(tower, tmp_path / "dinov2.pth")
    import_checkpoint(
        source,
        tmp_path / "out",
        language_model=vicuna,
        vision_tower=tmp_path / "dinov2.pth",
        dtype=torch.float32,
    )
    _assert_same(tmp_path / "out", reference)


def test_every_trained_tensor_changes_what_comes_out(reference: ModuleType) -> None:
    """The proofs above would notice if any one of them were left out."""
    weights, pixels = reference.tensors(), torch.zeros(3, 56, 56)
    whole = reference.logits(weights, pixels, [1, 300, 2], 1)
    for name in filter(_is_trained, weights):
        without = reference.logits({**weights, name: 0 * weights[name]}, pixels, [1, 300, 2], 1)
        assert (without - whole).abs().max() > 1e-2, name


def test_the_folder_is_a_checkpoint_whose_encoder_gives_the_published_features(
    imported: Path, reference: ModuleType
) -> None:
    found = resolve(str(imported))
    pixels = found.preprocessing.normalise(torch.from_numpy(CROPS).permute(0, 3, 1, 2).float() / 255)
    expected = np.stack([reference.patch_tokens(reference.tensors(), one) for one in pixels])
    np.testing.assert_allclose(Encoder(found).encode(CROPS), expected, atol=5e-3)
    assert found.preprocessing.crop == "box padded to square" and found.preprocessing.size_px == 56
    assert "another prompt" in str(found.card["note"])


def test_crops_of_another_size_are_not_encoded(imported: Path) -> None:
    with pytest.raises(ValueError, match="56 px"):
        Encoder(resolve(str(imported))).encode(np.zeros((1, 112, 112, 3), np.uint8))


def test_transformers_would_write_the_same_names(imported: Path, tmp_path: Path) -> None:
    ExpllmForConditionalGeneration.from_pretrained(imported).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as saved:
        assert set(saved.keys()) == set(load_file(imported / "model.safetensors"))


def test_the_processor_makes_the_models_arguments(imported: Path) -> None:
    made = AutoProcessor.from_pretrained(imported)(
        text=prompt.explain(None), images=Image.fromarray(CROPS[0]), return_tensors="pt"
    )
    assert made["input_ids"][0].tolist().count(258) == 16
    assert made["pixel_values"].shape == (1, 3, 56, 56)


def test_prompts_are_encoded_as_llamas_own_pieces_between_its_own_marks(
    tmp_path: Path, reference: ModuleType
) -> None:
    pieces = reference.write_tokenizer(tmp_path)
    tokenizer = llama_tokenizer(tmp_path, reference.VOCAB)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    text = "user é Explain\n the  face"
    encoded = tokenizer(text).input_ids
    assert tokenizer.decode(encoded) == text
    assert tokenizer(f" {text}").input_ids == pieces.encode(text)  # Llama itself puts a space before a text
    marked = tokenizer(f"{prompt.BEGIN}{text}{prompt.IMAGE}{prompt.END}").input_ids
    assert marked == [1, *encoded, 258, 2]


def test_labels_begin_with_different_tokens(imported: Path) -> None:
    assert set(label_token_ids(resolve(str(imported)))) == set(EXPRESSIONS)


def test_the_command_imports_and_says_what_the_model_does_not_know(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["expllm", "import-checkpoint", str(source), str(tmp_path / "out")])
    for code in (0, 2):
        with pytest.raises(SystemExit) as ended:
            cli.app()
        assert (ended.value.code or 0) == code
    told = capsys.readouterr()
    assert "another prompt" in told.out
    assert told.err == f"expllm: {tmp_path / 'out'}: is there already; name a folder that is not\n"
    assert load_file(tmp_path / "out" / "model.safetensors")["lm_head.weight"].dtype == torch.bfloat16


def test_at_the_published_shapes_as_much_is_trained_as_in_the_paper() -> None:
    config = new_config(published.tower(), published.PublishedConfig().language_model(), 258)
    with torch.device("meta"):
        model = ExpllmForConditionalGeneration(config)
        adapted = get_peft_model(model, published.adapters())
    model.model.multi_modal_projector.requires_grad_(True)
    trained = {name: p.numel() for name, p in adapted.named_parameters() if p.requires_grad}
    parts = {
        part: sum(count for name, count in trained.items() if f".{part}." in name)
        for part in ("multi_modal_projector", "language_model", "vision_tower")
    }
    assert parts == {
        "multi_modal_projector": 20_979_712,
        "language_model": 4_194_304,
        "vision_tower": 786_432,
    }
    assert sum(trained.values()) == 25_960_448
    assert config.image_seq_length == 256
