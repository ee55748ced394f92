"""A training starts from a model, or from a tower and a decoder of any family, by configuration alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
)

import jobs
from expllm import prompt
from expllm.errors import CallerError
from expllm.faces import SQUARE
from expllm.models import assembly, published
from expllm.models.architecture import ExpllmForConditionalGeneration, num_image_tokens
from expllm.models.checkpoint import resolve
from expllm.models.dataset import POINTS, FaceSet
from expllm.models.explainer import Explainer, explainer_of
from expllm.models.finetuning import ExplainTask
from expllm.models.starting import Start, preprocessing, start
from expllm.models.training import Schedule, train
from expllm.train_config import TrainConfig

PRESETS = Path(jobs.__path__[0]) / "presets"
PX = 112
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": PX}


def _configured(preset: str, *overrides: str) -> TrainConfig:
    return TrainConfig.read(PRESETS / f"{preset}.toml", ("output=trained", *overrides))


@pytest.mark.parametrize("file", sorted(PRESETS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_preset_leaves_open_what_is_read_and_written_alone(file: Path) -> None:
    config = _configured(file.stem)
    assert not config.data and config.faces is None
    assert config.batch_size % config.workers == 0


def test_the_papers_preset_trains_as_much_as_the_paper() -> None:
    shapes = published.PublishedConfig().language_model()
    with torch.device("meta"):
        model = ExpllmForConditionalGeneration(assembly.new_config(published.tower(), shapes, 258))
        explainer = explainer_of(model, _configured("expllm-7b"))
    trained = {name: p for name, p in explainer.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == 25_960_448
    assert all(p.dtype == torch.float32 for p in trained.values())
    assert model.config.vision_feature_norm and model.config.image_seq_length == 256
    ranks = {p.shape[0] for name, p in trained.items() if "lora_A" in name}
    scales = {m.scaling["default"] for m in explainer.modules() if hasattr(m, "lora_A")}
    dropouts = {m.p for n, m in explainer.named_modules() if n.endswith("lora_dropout.default")}
    assert (ranks, scales, dropouts) == ({8}, {2.0}, {0.05})


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Path:
    """A Qwen decoder with random weights and a tokenizer whose image token has Qwen's name."""
    folder = tmp_path_factory.mktemp("qwen")
    AutoTokenizer.from_pretrained(random_checkpoint).save_pretrained(folder)
    text = (folder / "tokenizer.json").read_text().replace(prompt.IMAGE, "<|image_pad|>")
    (folder / "tokenizer.json").write_text(text)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    for key in ("extra_special_tokens", "image_token", "model_specific_special_tokens", "processor_class"):
        settings.pop(key, None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=49_200, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=False, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def _tower_folder(config: PreTrainedConfig, folder: Path) -> Path:
    torch.manual_seed(2)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole SigLIP as it is published, both towers, with random weights."""
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(2)
    text = SiglipTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    vision = SiglipVisionConfig(**TOWER, intermediate_size=48, patch_size=16)
    SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())).save_pretrained(
        folder
    )
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    return folder


@pytest.fixture
def config(siglip: Path, decoder: Path) -> TrainConfig:
    return _configured(
        "siglip-qwen", f"encoder={siglip}", f"language_model={decoder}", "crop=aligned", "batch_size=4"
    )


def _faces(count: int = 6) -> FaceSet:
    rng = np.random.default_rng(0)
    units = np.zeros((count, 26), np.float32)
    return FaceSet(
        crops=rng.integers(0, 255, (count, 128, 128, 3), dtype=np.uint8),
        action_units=units,
        measured=units,
        expressions=rng.integers(0, 8, count),
        pose_deg=np.zeros((count, 3), np.float32),
        peaks=np.ones(count, np.float32),
        persons=np.arange(count),
        points=np.zeros((count, len(POINTS), 2), np.float32),
    )


def _taught(begun: Start, config: TrainConfig, folder: Path) -> Explainer:
    explainer = explainer_of(begun.model, config)
    task = ExplainTask(_faces(), explainer, begun.tokenizer, begun.preprocessing)
    train(task, Schedule(2, 4, warmup_steps=0), folder, lambda step, metrics: None)
    return explainer


def test_another_family_learns_and_its_model_loads_again(config: TrainConfig, tmp_path: Path) -> None:
    begun = start(config)
    assert begun.preprocessing.mean == (0.5, 0.5, 0.5)
    before = {name: t.clone() for name, t in begun.model.state_dict().items()}
    explainer = _taught(begun, config, tmp_path / "steps").eval()
    pixels = torch.rand(1, 3, PX, PX)
    ids = torch.tensor([[5, *[begun.tokenizer.image_token_id] * num_image_tokens(begun.model.config), 9]])
    with torch.inference_mode():
        expected = explainer.next_token_logits(pixels.bfloat16().float(), ids).float()
    explainer.merge()
    assembly.save_assembled(tmp_path / "out", begun.model, begun.tokenizer, begun.preprocessing, {})
    again = ExpllmForConditionalGeneration.from_pretrained(resolve(str(tmp_path / "out")).path).eval()
    with torch.inference_mode():
        logits = again.float()(input_ids=ids, pixel_values=pixels.bfloat16().float()).logits[:, -1]
    assert torch.allclose(logits, expected, atol=0.05)
    changed = {n for n, t in begun.model.state_dict().items() if not torch.equal(t, before[n].to(t.dtype))}
    layers = (
        "multi_modal_projector",
        "vision_tower.encoder.layers.0.self_attn.q_proj",
        "layers.0.mlp.up_proj",
    )
    assert all(any(layer in name for name in changed) for layer in layers)
    assert not any("vision_tower" in name and "k_proj" in name for name in changed)


def test_the_image_takes_a_token_that_qwen_keeps_for_it(config: TrainConfig) -> None:
    tokenizer = start(config).tokenizer
    ids = tokenizer(prompt.explain(None), add_special_tokens=False).input_ids
    assert ids.count(tokenizer.image_token_id) == 1
    assert ids.count(tokenizer.convert_tokens_to_ids(prompt.BEGIN)) == 2
    assert tokenizer.decode(ids) == prompt.explain(None)


def test_an_untied_head_is_taken_over(config: TrainConfig, decoder: Path) -> None:
    head = Qwen2ForCausalLM.from_pretrained(decoder, dtype=torch.bfloat16).lm_head.weight
    assert torch.equal(start(config).model.lm_head.weight, head)


def test_a_dinov2_tower_is_made_for_smaller_crops(config: TrainConfig, tmp_path: Path) -> None:
    tower = _tower_folder(Dinov2Config(**{**TOWER, "image_size": 224}, patch_size=14), tmp_path / "dino")
    begun = start(config.model_copy(update={"encoder": str(tower), "image_px": PX, "crop": "square"}))
    assert num_image_tokens(begun.model.config) == 64
    assert begun.model.model.vision_tower.embeddings.position_embeddings.shape[1] == 65
    assert (begun.preprocessing.crop, begun.preprocessing.size_px) == (SQUARE, PX)


def test_a_tower_that_cannot_read_other_crops_says_so(config: TrainConfig, tmp_path: Path) -> None:
    tower = _tower_folder(CLIPVisionConfig(**TOWER, intermediate_size=48, patch_size=16), tmp_path / "clip")
    other = config.model_copy(update={"encoder": str(tower), "image_px": 96})
    with pytest.raises(CallerError, match="reads 112 px alone"):
        preprocessing(other)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoder": None}, "go together"),
        ({"language_model": None}, "go together"),
        ({"encoder": "/no/such"}, "encoder /no/such: holds no config.json"),
        ({"language_model": "/no/such"}, "language_model /no/such: holds no config.json"),
        ({"encoder": "decoder"}, "is a qwen2, and no vision tower"),
    ],
)
def test_parts_that_do_not_make_a_model_are_named(
    config: TrainConfig, decoder: Path, changes: dict[str, str | None], told: str
) -> None:
    changes = {key: str(decoder) if value == "decoder" else value for key, value in changes.items()}
    with pytest.raises(CallerError, match=told):
        preprocessing(config.model_copy(update=changes))


def test_layers_that_are_not_there_are_named(config: TrainConfig) -> None:
    with pytest.raises(CallerError, match=r"the encoder has no layer 'query'; it has .*'q_proj'"):
        explainer_of(start(config).model, config.model_copy(update={"encoder_layers": ("query",)}))


def test_the_bundled_encoder_takes_no_adapters(random_checkpoint: Path) -> None:
    config = _configured("expllm-135m", f"model={random_checkpoint}", 'encoder_layers=["q_proj"]')
    with pytest.raises(CallerError, match="encoder_layers = \\[\\]"):
        explainer_of(start(config).model, config)


def test_a_model_that_is_configured_by_its_folder_is_loaded(random_checkpoint: Path) -> None:
    begun = start(_configured("expllm-135m", f"model={random_checkpoint}"))
    assert begun.checkpoint is not None and begun.checkpoint.path == random_checkpoint
    assert not explainer_of(begun.model, _configured("expllm-135m")).learns_to_see
    assert isinstance(begun.model.config.text_config, LlamaConfig)
