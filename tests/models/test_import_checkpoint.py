"""The published checkpoint, at a tiny size, becomes a folder of ours that computes the same."""

import json
import os
import pickle
import resource
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from expllm import cli, prompt
from expllm.errors import CallerError, RunError
from expllm.expressions import EXPRESSIONS
from expllm.models import published
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.assembly import new_config
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from expllm.models.engine import label_token_ids
from expllm.models.import_checkpoint import import_checkpoint
from expllm.models.llama_tokenizer import llama_tokenizer
from expllm.models.weight_files import PlannedTensor, stored_tensors, write_shards

_spec = spec_from_file_location("published_reference", Path(__file__).with_name("published_reference.py"))
reference = module_from_spec(_spec)
_spec.loader.exec_module(reference)

WEIGHTS = reference.tensors()
CROPS = np.random.default_rng(0).integers(0, 255, (2, 56, 56, 3), dtype=np.uint8)


def _is_trained(name: str) -> bool:
    return "lora_" in name or name.startswith("mm_projector")


def _save(folder: Path, weights: dict[str, torch.Tensor], *, as_pickles: bool = False) -> Path:
    """A folder as published: config, tokenizer, and weights in one file or in torch's shards with an index."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(reference.CONFIG))
    reference.write_tokenizer(folder)
    if not as_pickles:
        save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors"
        )
        return folder
    names = sorted(weights)
    places = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(names)}
    for file in set(places.values()):
        torch.save({name: weights[name] for name in names if places[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Path("left by the trainer")))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("published") / "ckpt", WEIGHTS)


@pytest.fixture(scope="module")
def imported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("imported") / "expllm"
    import_checkpoint(source, target, dtype=torch.float32)
    return target


def _logits(folder: Path, pixels: torch.Tensor, ids: list[int], image_at: int) -> torch.Tensor:
    model = ExpllmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    places = [model.config.image_token_index] * reference.SIDE**2
    whole = torch.tensor([ids[:image_at] + places + ids[image_at:]])
    with torch.inference_mode():
        return model(input_ids=whole, pixel_values=pixels[None]).logits[0]


def _same(folder: Path) -> bool:
    pixels = torch.randn(3, reference.CROP_PX, reference.CROP_PX, generator=torch.Generator().manual_seed(1))
    ids, image_at = [1, 300, 17, 402, 33, 2], 2
    expected = reference.logits(WEIGHTS, pixels, ids, image_at)
    assert expected.std() > 0.3
    return torch.allclose(_logits(folder, pixels, ids, image_at), expected, atol=1e-4)


def test_the_logits_are_the_same_before_and_after(imported: Path) -> None:
    assert _same(imported)


def test_pickled_shards_give_the_same_and_what_the_trainer_left_is_not_opened(tmp_path: Path) -> None:
    import_checkpoint(
        _save(tmp_path / "ckpt", WEIGHTS, as_pickles=True), tmp_path / "out", dtype=torch.float32
    )
    assert _same(tmp_path / "out")


def test_what_was_trained_is_laid_upon_the_base_models(tmp_path: Path) -> None:
    trained = _save(tmp_path / "ckpt", {name: t for name, t in WEIGHTS.items() if _is_trained(name)})
    (trained / "tokenizer.model").unlink()
    frozen = {name: t for name, t in WEIGHTS.items() if not _is_trained(name)}
    vicuna = _save(
        tmp_path / "vicuna",
        {n: t for n, t in frozen.items() if not n.startswith("vision_model.")},
        as_pickles=True,
    )
    dino = {n.removeprefix("vision_model."): t for n, t in frozen.items() if n.startswith("vision_model.")}
    torch.save(dino, tmp_path / "dinov2.pth")
    import_checkpoint(
        trained,
        tmp_path / "out",
        language_model=vicuna,
        vision_tower=tmp_path / "dinov2.pth",
        dtype=torch.float32,
    )
    assert _same(tmp_path / "out")


def test_every_trained_tensor_changes_what_comes_out(imported: Path) -> None:
    """An adapter that is left out is what an import most easily does; so the proof above must notice each."""
    pixels = torch.zeros(3, reference.CROP_PX, reference.CROP_PX)
    whole = reference.logits(WEIGHTS, pixels, [1, 300, 2], 1)
    for name in filter(_is_trained, WEIGHTS):
        without = reference.logits({**WEIGHTS, name: 0 * WEIGHTS[name]}, pixels, [1, 300, 2], 1)
        assert (without - whole).abs().max() > 1e-2, name


def test_the_folder_is_a_checkpoint_whose_encoder_gives_the_published_features(imported: Path) -> None:
    found = resolve(str(imported))
    pixels = found.preprocessing.normalise(torch.from_numpy(CROPS).permute(0, 3, 1, 2).float() / 255)
    expected = np.stack([reference.patch_tokens(WEIGHTS, one) for one in pixels])
    np.testing.assert_allclose(Encoder(found).encode(CROPS), expected, atol=5e-3)
    assert found.preprocessing.cut.size_px == 56 and found.preprocessing.crop == "box padded to square"
    assert "another prompt" in str(found.card["note"])


def test_crops_of_another_size_are_not_encoded(imported: Path) -> None:
    with pytest.raises(ValueError, match="56 px"):
        Encoder(resolve(str(imported))).encode(np.zeros((1, 112, 112, 3), np.uint8))


def test_transformers_would_write_the_same_names(imported: Path, tmp_path: Path) -> None:
    ExpllmForConditionalGeneration.from_pretrained(imported).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as saved:
        assert set(saved.keys()) == set(load_file(imported / "model.safetensors"))


def test_the_processor_makes_the_models_arguments(imported: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    made = AutoProcessor.from_pretrained(imported)(
        text=prompt.explain(None), images=Image.fromarray(CROPS[0]), return_tensors="pt"
    )
    ids = made["input_ids"][0].tolist()
    assert ids.count(258) == reference.SIDE**2
    assert made["pixel_values"].shape == (1, 3, 56, 56)


def test_prompts_are_encoded_as_llamas_own_pieces_between_its_own_marks(source: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.layers.1.self_attn.v_proj.lora_B": None}, r"model\.layers\.1\.self_attn\.v_proj\.lora_B is missing"),
        ({"vision_model.blocks.0.attn.lora_A_q": None}, r"vision_model\.blocks\.0\.attn\.lora_A_q is missing"),
        ({"vision_model.patch_embed.proj.weight": None}, r"patch_embed\.proj\.weight is missing.*--vision-tower"),
        ({"mm_projector.0.weight": torch.zeros(64, 64)}, r"mm_projector\.0\.weight is 64 x 64, and must be 64 x 128"),
        ({"vision_model.pos_embed": torch.zeros(1, 25, 128)}, r"pos_embed is 1 x 25 x 128"),
        ({"vision_model.pos_embed": torch.zeros(128)}, r"pos_embed is 128, and must"),
        ({"vision_model.blocks.1.attn.qkv.weight": torch.zeros(128, 128)}, r"must be 384 x 128"),
        ({"model.layers.0.self_attn.q_proj.lora_A": torch.zeros(8, 64)}, r"lora_A is 8 x 64, and must be 4 x 64"),
        ({"vision_model.patch_embed.proj.weight": torch.zeros(96, 3, 14, 14)}, "no DINOv2 tower"),
        ({"model.layers.2.mlp.up_proj.weight": torch.zeros(1)}, r"layers\.2\.mlp\.up_proj\.weight has no place"),
        ({"extra.one": torch.zeros(1), "extra.two": torch.zeros(1)}, r"extra\.one \(and 1 more\) has no place"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named_in_one_line_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], told: str
) -> None:
    weights = {name: tensor for name, tensor in {**WEIGHTS, **changes}.items() if tensor is not None}
    source = _save(tmp_path / "ckpt", weights)
    _refused(source, tmp_path, told)


def _refused(source: Path, place: Path, told: str) -> None:
    with pytest.raises(CallerError, match=told) as error:
        import_checkpoint(source, place / "out")
    assert "\n" not in str(error.value)
    assert not [file for file in place.iterdir() if "out" in file.name]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architectures": ["LlavaLlamaForCausalLM"]}, r"LlavaLlamaForCausalLM.*LocLLMModel"),
        ({"architectures": None}, "architecture is None"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_scaling"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hidden_size": 32}, r"mm_projector\.0\.weight is 64 x 128, and must be 32 x 128|embed_tokens"),
        ({"vocab_size": 300}, "tokenizer has 420 tokens, the model 300"),
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    source = _save(tmp_path / "ckpt", WEIGHTS)
    (source / "config.json").write_text(json.dumps(reference.CONFIG | changes))
    _refused(source, tmp_path, told)


def _break(file: str, content: bytes | None) -> Callable[[Path], None]:
    def broken(source: Path) -> None:
        (source / file).unlink(missing_ok=True)
        if content is not None:
            (source / file).write_bytes(content)

    return broken


@pytest.mark.parametrize(
    ("breaking", "told"),
    [
        (_break("config.json", None), "no config.json"),
        (_break("model.safetensors", None), "no weights"),
        (_break("model.safetensors", b"\x10\0\0\0\0\0\0\0{}"), "no whole safetensors file"),
        (_break("tokenizer.model", None), "no tokenizer.*--language-model"),
        (_break("tokenizer.model", b"not a model"), "tokenizer cannot be read"),
        (_break("model.safetensors.index.json", b'{"weight_map": {"a": "../b"}}'), "weight_map"),
        (_break("model.safetensors.index.json", b'{"weight_map": {"a": "gone.safetensors"}}'), "gone.safetensors"),
    ],
)  # fmt: skip
def test_a_folder_that_lacks_a_part_is_refused(
    tmp_path: Path, breaking: Callable[[Path], None], told: str
) -> None:
    source = _save(tmp_path / "ckpt", WEIGHTS)
    breaking(source)
    _refused(source, tmp_path, told)


class _Trap:
    def __reduce__(self):
        return os.system, ("touch trapped",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"model.norm.weight": _Trap()}, "weights_only=True"),
        ({"model": {"norm": torch.zeros(1)}}, "no plain table of tensors"),
        ([torch.zeros(1)], "no plain table of tensors"),
    ],
)
def test_a_pickle_of_anything_but_tensors_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = _save(tmp_path / "ckpt", WEIGHTS)
    (source / "model.safetensors").unlink()
    torch.save(content, source / "pytorch_model.bin")
    _refused(source, tmp_path, told)
    assert not (tmp_path / "trapped").exists()


def test_a_broken_pickle_is_refused(tmp_path: Path) -> None:
    source = _save(tmp_path / "ckpt", WEIGHTS)
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    _refused(source, tmp_path, "pytorch_model.bin")


def test_a_folder_that_is_there_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CallerError, match="there already"):
        import_checkpoint(source, tmp_path / "out")


def test_a_disk_that_fills_up_leaves_nothing(source: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (200_000, hard)
    )  # as a full disk: the write is refused half-way
    try:
        with pytest.raises(RunError, match="could not be written") as error:
            import_checkpoint(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_imports_and_says_what_the_model_does_not_know(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["expllm", "import-checkpoint", str(source), str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    for code in (0, 2):
        with pytest.raises(SystemExit) as ended:
            cli.app()
        assert (ended.value.code or 0) == code
    told = capsys.readouterr()
    assert "another prompt" in told.out
    assert told.err == f"expllm: {tmp_path / 'out'}: is there already; name a folder that is not\n"
    assert load_file(tmp_path / "out" / "model.safetensors")["lm_head.weight"].dtype == torch.bfloat16


def test_shards_are_cut_by_size_and_all_found_again(tmp_path: Path) -> None:
    made = {f"t{number}": torch.full((8, 4), float(number)) for number in range(5)}
    planned = [PlannedTensor(name, (8, 4), lambda tensor=tensor: tensor) for name, tensor in made.items()]
    write_shards(tmp_path, planned, torch.float32, shard_bytes=300)
    assert len(list(tmp_path.glob("model-*-of-00003.safetensors"))) == 3
    found = stored_tensors(tmp_path)
    assert all(torch.equal(found[name].read(), tensor) for name, tensor in made.items())


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file({"same": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(CallerError, match="both hold same"):
        stored_tensors(tmp_path)


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
