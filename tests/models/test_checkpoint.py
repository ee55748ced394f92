"""A model's name or folder is found, checked and put together once, and unsafe folders are refused."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from expllm import gate
from expllm.errors import CallerError
from expllm.faces import Cut
from expllm.facs import COLUMNS
from expllm.models import assembly, base, checkpoint, registration
from expllm.models.architecture import ARCHITECTURE, ExpllmForConditionalGeneration
from expllm.models.encoder import Encoder
from expllm.models.explainer import Explainer, lora_config
from expllm.models.preprocessing import Preprocessing
from expllm.models.tower import FaceTowerConfig
from expllm.unit_reader import EVIDENCE, UnitReader


@pytest.fixture
def folder(random_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_checkpoint, tmp_path / "model"))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(CallerError, match="expllm-135m"):
        checkpoint.resolve("expllm-9000b")


def test_a_folder_works_as_it_is(random_checkpoint: Path) -> None:
    found = checkpoint.resolve(str(random_checkpoint))
    assert found.path == random_checkpoint.resolve()
    assert found.temperature == 1.0


def test_the_id_changes_with_the_weights_and_not_with_the_place(
    folder: Path, random_checkpoint: Path
) -> None:
    original = checkpoint.resolve(str(random_checkpoint)).model_id
    assert checkpoint.resolve(str(folder)).model_id == original
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    checkpoint.resolve.cache_clear()
    assert checkpoint.resolve(str(folder)).model_id != original


@pytest.mark.parametrize("name", ["pytorch_model.bin", "extra.pt", "state.pkl"])
def test_pickled_weights_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(CallerError, match="safetensors"):
        checkpoint.resolve(str(folder))


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("auto_map", {"AutoModel": "evil.Model"}, "auto_map"),
        ("architectures", ["LlavaForConditionalGeneration"], ARCHITECTURE),
    ],
)
def test_other_code_and_other_architectures_are_refused(
    folder: Path, field: str, value: object, complaint: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(CallerError, match=complaint):
        checkpoint.resolve(str(folder))


def test_a_folder_without_preprocessing_is_refused(folder: Path) -> None:
    (folder / "preprocessing.json").unlink()
    with pytest.raises(CallerError, match=r"preprocessing\.json"):
        checkpoint.resolve(str(folder))


@pytest.mark.parametrize("file", ["config.json", "card.json", "preprocessing.json"])
@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_file_that_is_no_object_is_named_in_one_line(folder: Path, file: str, text: str) -> None:
    (folder / file).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CallerError, match=file) as refused:
        checkpoint.resolve(str(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"text_config": None}),
        ("config.json", {"vision_config": []}),
        ("card.json", {"temperature": "warm"}),
        ("card.json", {"temperature": 0}),
        ("card.json", {"temperature": float("nan")}),
        ("preprocessing.json", {"sharpness": 1}),
        ("preprocessing.json", {"size_px": "large"}),
        ("preprocessing.json", {"mean": [0.5, 0.5]}),
        ("preprocessing.json", {"std": [0.2, 0.2, 0.0]}),
    ],
)
def test_a_field_that_does_not_fit_is_refused_with_the_name_of_its_file(
    folder: Path, file: str, changes: dict[str, object]
) -> None:
    fields = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(fields | changes))
    with pytest.raises(CallerError, match=rf"{file}.*{next(iter(changes))}"):
        checkpoint.resolve(str(folder))


@pytest.mark.parametrize("field", ["crop", "size_px", "mean", "std", "decoder"])
def test_preprocessing_must_say_everything(folder: Path, field: str) -> None:
    fields = json.loads((folder / "preprocessing.json").read_text())
    del fields[field]
    (folder / "preprocessing.json").write_text(json.dumps(fields))
    with pytest.raises(CallerError, match=f"{field}.*missing"):
        checkpoint.resolve(str(folder))


@pytest.mark.parametrize("other", [{"crop": "square"}, {"size_px": 224}, {"decoder": "turbojpeg"}])
def test_a_model_trained_on_other_crops_is_refused(folder: Path, other: dict[str, object]) -> None:
    fields = json.loads((folder / "preprocessing.json").read_text())
    (folder / "preprocessing.json").write_text(json.dumps(fields | other))
    with pytest.raises(CallerError, match=f"{next(iter(other))}.*only"):
        checkpoint.resolve(str(folder))


def test_a_model_says_how_its_crops_are_cut(folder: Path) -> None:
    fields = json.loads((folder / "preprocessing.json").read_text())
    (folder / "preprocessing.json").write_text(json.dumps(fields | {"crop": "box padded to square"}))
    assert checkpoint.resolve(str(folder)).preprocessing.cut == Cut("box padded to square", 112)


def test_a_models_own_normalisation_is_obeyed(folder: Path) -> None:
    fields = json.loads((folder / "preprocessing.json").read_text())
    (folder / "preprocessing.json").write_text(json.dumps(fields | {"mean": [0.5, 0.5, 0.5]}))
    black = torch.zeros(1, 3, 2, 2)
    normalised = checkpoint.resolve(str(folder)).preprocessing.normalise(black)
    assert normalised[0, 0, 0, 0].item() == pytest.approx(-0.5 / fields["std"][0])


def test_the_id_changes_with_the_temperature_and_not_with_the_rest_of_the_card(folder: Path) -> None:
    ids = []
    for card in ({"temperature": 1.0}, {"name": "tiny"}, {"temperature": 1.5}):
        (folder / "card.json").write_text(json.dumps(card))
        checkpoint.resolve.cache_clear()
        ids.append(checkpoint.resolve(str(folder)).model_id)
    assert ids[0] == ids[1] != ids[2]


def test_registering_twice_changes_nothing(random_checkpoint: Path) -> None:
    registration.register()
    registration.register()
    model = AutoModelForImageTextToText.from_pretrained(random_checkpoint)
    assert isinstance(model, ExpllmForConditionalGeneration)


def test_the_encoder_gives_the_features_of_the_whole_model(random_checkpoint: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), dtype=np.uint8)
    found = checkpoint.resolve(str(random_checkpoint))
    features = Encoder(found).encode(crops)
    assert features.shape == (2, 49, WIDTH) and features.dtype == np.float16
    assert Encoder(found).encode(crops[:0]).shape == (0, 49, WIDTH)


WIDTH = 32 + EVIDENCE
MEASURED = {column: 0.3 for column in COLUMNS} | {"au14_left": None}
CROPS = np.zeros((1, 112, 112, 3), np.uint8)


def _with_reader(folder: Path) -> checkpoint.Checkpoint:
    """The checkpoint with a reader that trusts landmarks alone and adds one to each logit."""
    UnitReader(np.tile(np.float32((1, 0, 1)), (len(COLUMNS), 1))).save(folder / checkpoint.ACTION_UNITS)
    checkpoint.resolve.cache_clear()
    return checkpoint.resolve(str(folder))


def test_movements_are_joined_with_what_the_features_show(folder: Path) -> None:
    plain = checkpoint.resolve(str(folder)).model_id
    found = _with_reader(folder)
    features, (joined,) = Encoder(found).read(CROPS, [MEASURED])
    assert features.shape == (1, 49, WIDTH)
    assert joined["au12"] == pytest.approx(0.538, abs=1e-3)
    assert joined["au14_left"] is None
    assert found.model_id != plain


def test_a_checkpoint_without_a_reader_leaves_movements_as_they_are_measured(random_checkpoint: Path) -> None:
    _, (joined,) = Encoder(checkpoint.resolve(str(random_checkpoint))).read(CROPS, [MEASURED])
    assert joined == MEASURED


def test_no_faces_have_no_movements(folder: Path) -> None:
    features, joined = Encoder(_with_reader(folder)).read(CROPS[:0], [])
    assert features.shape == (0, 49, WIDTH)
    assert joined == []


def test_a_reader_of_another_encoder_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"] = {"model_type": "clip_vision_model"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CallerError, match="action_units"):
        Encoder(_with_reader(folder))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundled model that was never trained, on the real language model."""
    torch.manual_seed(0)
    encoder = FaceTowerConfig(hidden_size=64 + EVIDENCE)
    model = assembly.new_model(encoder, base.language_model(), base.tokenizer())
    explainer = Explainer(model, lora_config(rank=2))
    parts = {
        assembly.ENCODER: explainer.tower.state_dict(),
        assembly.PROJECTOR: explainer.projector.state_dict(),
        assembly.ADAPTER: assembly.adapter_tensors(explainer.language_model),
    }
    folder = tmp_path_factory.mktemp("bundles")
    bundle = folder / "expllm-135m"
    assembly.save_bundle(bundle, model.config, Preprocessing(), parts, {"temperature": 1.5})
    UnitReader(np.zeros((len(COLUMNS), 3), np.float32)).save(bundle / checkpoint.ACTION_UNITS)
    (bundle / gate.FILE).write_text("{}")
    return folder


def test_a_bundled_model_is_put_together_once_and_checked(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLLM_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoint, "BUNDLES", bundles)
    checkpoint.resolve.cache_clear()
    found = checkpoint.resolve("expllm-135m")
    made = found.path.stat().st_ctime_ns
    checkpoint.resolve.cache_clear()
    assert checkpoint.resolve("expllm-135m") == found
    assert found.path.stat().st_ctime_ns == made
    assert found.temperature == 1.5
    assert list(tmp_path.iterdir()) == [found.path]
    checkpoint.check(found.path)
    assert found.unit_reader() is not None
    assert (found.path / gate.FILE).exists()
    checkpoint.resolve.cache_clear()


def test_a_cache_that_cannot_be_written_is_named(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EXPLLM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(checkpoint, "BUNDLES", bundles)
    checkpoint.resolve.cache_clear()
    with pytest.raises(CallerError, match="EXPLLM_CACHE"):
        checkpoint.resolve("expllm-135m")
    checkpoint.resolve.cache_clear()


def _finished(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "sha256.json").write_text(json.dumps({"config.json": digest}))
    return folder


def test_who_comes_second_leaves_the_first_ones_folder(tmp_path: Path) -> None:
    first, second = (_finished(tmp_path / name, name) for name in ("first", "second"))
    for partial in (first, second):
        checkpoint._publish(partial, tmp_path / "model")
    assert (tmp_path / "model" / "config.json").read_text() == "first"


def test_an_altered_cache_is_replaced(tmp_path: Path) -> None:
    checkpoint._publish(_finished(tmp_path / "first", "first"), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("altered")
    checkpoint._publish(_finished(tmp_path / "second", "second"), tmp_path / "model")
    assert (tmp_path / "model" / "config.json").read_text() == "second"


def test_no_path_of_the_machine_is_in_a_bundle(bundles: Path) -> None:
    assert "site-packages" not in (bundles / "expllm-135m" / "config.json").read_text()
