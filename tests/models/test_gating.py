"""A trained checkpoint serves if vLLM answers as the trainer did; an ignored adapter and another tokenizer do not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from expllm import gate, promoted
from expllm.config import GateConfig
from expllm.errors import CallerError, RunError
from expllm.models import assembly, gating, recording
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.checkpoint import fixed, resolve
from expllm.models.finetuning import Explainer, lora_config

WEIGHTS = "model.safetensors"
ADAPTER = Path(recording.ADAPTER, "adapter_model.safetensors")


@pytest.fixture(scope="module", autouse=True)
def in_one_process() -> Any:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        yield


@pytest.fixture(autouse=True)
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLLM_MODELS", str(tmp_path / "names"))


def _train(base: Path, folder: Path, *, spread: float, projector: float = 1.0) -> Path:
    """What a training leaves, with an adapter drawn by chance in place of one that was learnt."""
    torch.manual_seed(0)
    checkpoint, tokenizer = resolve(str(base)), AutoTokenizer.from_pretrained(base)
    model = ExpllmForConditionalGeneration.from_pretrained(base, dtype=torch.bfloat16)
    explainer = Explainer(model, lora_config(rank=4))
    for name, parameter in explainer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=spread)
    explainer.projector.linear_2.weight.data *= projector
    recording.record(folder, model, tokenizer, checkpoint)
    explainer.language_model.merge_and_unload()
    assembly.save_assembled(folder, model, tokenizer, checkpoint.preprocessing, {"temperature": 1.0})
    return folder


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tiny_checkpoint, tmp_path_factory.mktemp("trained") / "model", spread=0.01)


@pytest.fixture
def altered(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "model"))


def _check(folder: Path) -> gating.Passed:
    return gating.check(str(folder), "float32", {})


@pytest.fixture(scope="module")
def passed(trained: Path) -> gating.Passed:
    return _check(trained)


def test_what_was_trained_passes_merged_and_as_an_adapter_alone(passed: gating.Passed, trained: Path) -> None:
    assert passed.adapter == trained / recording.ADAPTER
    assert passed.worst < 1e-4 and passed.away < 0.01
    assert passed.record.text_labels == ("happiness",) * 4
    assert "adapter alone as well" in passed.told() and "\n" not in passed.told()


def test_an_adapter_that_is_not_in_the_weights_is_caught(altered: Path, tiny_checkpoint: Path) -> None:
    shutil.copyfile(tiny_checkpoint / WEIGHTS, altered / WEIGHTS)
    with pytest.raises(RunError, match="adapter of the language model is ignored"):
        _check(altered)


def test_an_adapter_under_names_that_the_engine_passes_over_is_caught(altered: Path) -> None:
    tensors = load_file(altered / ADAPTER)
    save_file({name.replace("model.language_model.", ""): t for name, t in tensors.items()}, altered / ADAPTER)
    with pytest.raises(RunError, match=r"\(its adapter alone\).*adapter of the language model is ignored"):
        _check(altered)


def test_an_adapter_that_has_learnt_nothing_is_caught(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="adapter of the language model changes nothing"):
        _check(_train(tiny_checkpoint, tmp_path / "model", spread=0.0))


def test_a_tokenizer_that_differs_is_caught(altered: Path) -> None:
    file = altered / "tokenizer.json"
    fields = json.loads(file.read_text())
    vocabulary = fields["model"]["vocab"]
    vocabulary["Explain"], vocabulary["Name"] = vocabulary["Name"], vocabulary["Explain"]
    file.write_text(json.dumps(fields))
    with pytest.raises(RunError, match="8 of 8 frozen prompts into other tokens"):
        _check(altered)


def test_another_prompt_and_other_normalisation_are_caught(altered: Path) -> None:
    record = json.loads((altered / gate.FILE).read_text())
    record["reading"]["prompt_id"] = "older"
    (altered / gate.FILE).write_text(json.dumps(record))
    file = altered / "preprocessing.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mean": [0.5, 0.5, 0.5]}))
    with pytest.raises(RunError, match=r"trained on prompt older.*; its preprocessing\.json"):
        _check(altered)


def test_a_trained_projector_makes_the_adapter_no_model_alone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = _train(tiny_checkpoint, tmp_path / "model", spread=0.01, projector=1.5)
    assert not (folder / recording.ADAPTER).exists()


def test_a_model_that_no_training_recorded_is_the_callers_mistake(tiny_checkpoint: Path) -> None:
    with pytest.raises(CallerError, match="expllm train"):
        _check(tiny_checkpoint)


def test_what_passes_serves_under_its_name_and_what_does_not_leaves_it(
    passed: gating.Passed, trained: Path, altered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from expllm.distributed import gate as job
    from jobs import rollback

    first, model_id = resolve(str(altered)), passed.checkpoint.model_id
    promoted.promote("faces", first.path, first.model_id)
    job.promote("faces", GateConfig(model=str(trained)))
    assert promoted.find("faces").checkpoint == str(trained.resolve())
    with pytest.raises(CallerError, match="expllm train"):
        job.promote("faces", GateConfig(model=fixed_copy(trained, tmp_path)))
    assert fixed("faces") == str(trained.resolve())
    assert resolve("faces").model_id == model_id and resolve("faces").name == "faces"
    rollback.main("faces")
    assert capsys.readouterr().out.strip() == f"faces is now {first.model_id}: {first.path}"
    assert fixed("faces") == str(first.path)


def fixed_copy(trained: Path, tmp_path: Path) -> str:
    """The trained model without its record."""
    copy = Path(shutil.copytree(trained, tmp_path / "unrecorded"))
    (copy / gate.FILE).unlink()
    return str(copy)


def test_a_checkpoint_that_was_changed_since_serves_no_more(altered: Path) -> None:
    promoted.promote("changed", altered, "other-id")
    with pytest.raises(CallerError, match="was changed since its promotion"):
        resolve("changed")


@pytest.mark.parametrize("name", ["expllm-135m", "a/b"])
def test_a_name_that_cannot_be_given_is_refused_before_anything_is_tried(name: str, tmp_path: Path) -> None:
    from expllm.distributed import gate as job

    with pytest.raises(CallerError, match=r"model that ships|is no name"):
        job.promote(name, GateConfig(model=str(tmp_path)))
