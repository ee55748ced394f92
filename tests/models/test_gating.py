"""A trained checkpoint serves if vLLM answers as the trainer did; an adapter that is ignored does not."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from expllm import gate, promoted
from expllm.config import GateConfig
from expllm.distributed import gate as job
from expllm.errors import CallerError, RunError
from expllm.models import adapters, gating
from expllm.models.checkpoint import fixed, resolve
from jobs import rollback

Trains = Callable[..., Path]
WEIGHTS = "model.safetensors"
ADAPTER = Path(adapters.FOLDER, adapters.WEIGHTS)


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        # vLLM looks through all loaded modules as it starts and trips over llvmlite's, which rendering loads.
        for name in [name for name in sys.modules if name.startswith("llvmlite")]:
            environment.delitem(sys.modules, name)
        environment.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        environment.setenv("EXPLLM_MODELS", str(tmp_path_factory.mktemp("names")))
        yield


@pytest.fixture(scope="module")
def trained(trains: Trains, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trains(tiny_checkpoint, tmp_path_factory.mktemp("trained") / "model", 0.01)


@pytest.fixture
def altered(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "model"))


def _check(folder: Path) -> gating.Passed:
    return gating.check(str(folder), "float32", {})


@pytest.fixture(scope="module")
def passed(trained: Path) -> gating.Passed:
    return job.promote("faces", GateConfig(model=str(trained)))


def test_what_was_trained_passes_merged_and_as_an_adapter_alone(
    passed: gating.Passed, trained: Path, tiny_checkpoint: Path
) -> None:
    assert passed.is_adapter and adapters.base(trained).path == tiny_checkpoint.resolve()
    assert passed.worst < 1e-4 and passed.away < 0.01
    assert passed.record.text_labels == ("happiness",) * 4
    assert "adapter alone as well" in passed.told() and "\n" not in passed.told()


def test_an_adapter_that_is_not_in_the_weights_is_caught(altered: Path, tiny_checkpoint: Path) -> None:
    shutil.copyfile(tiny_checkpoint / WEIGHTS, altered / WEIGHTS)
    shutil.rmtree(altered / adapters.FOLDER)
    with pytest.raises(RunError, match="adapter of the language model is ignored"):
        _check(altered)


def test_an_adapter_under_names_that_the_engine_passes_over_is_caught(altered: Path) -> None:
    tensors = load_file(altered / ADAPTER)
    save_file(
        {name.replace("model.language_model.", ""): t for name, t in tensors.items()}, altered / ADAPTER
    )
    with pytest.raises(RunError, match=r"\(its adapter alone\).*adapter of the language model is ignored"):
        _check(altered)


@pytest.fixture(scope="module")
def projected(trains: Trains, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that moved the projector alone."""
    return trains(tiny_checkpoint, tmp_path_factory.mktemp("projected") / "model", 0.0, projector=1.5)


def test_an_adapter_that_has_learnt_nothing_is_caught(projected: Path) -> None:
    with pytest.raises(RunError, match="adapter of the language model changes nothing"):
        _check(projected)


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


def test_a_trained_projector_makes_the_adapter_no_model_alone(projected: Path) -> None:
    assert not (projected / adapters.FOLDER).exists()


def test_a_model_that_no_training_recorded_is_the_callers_mistake(tiny_checkpoint: Path) -> None:
    with pytest.raises(CallerError, match="expllm train"):
        _check(tiny_checkpoint)


def test_what_passes_serves_under_its_name_and_what_does_not_leaves_it(
    passed: gating.Passed, trained: Path, altered: Path
) -> None:
    (altered / gate.FILE).unlink()
    with pytest.raises(CallerError, match="expllm train"):
        job.promote("faces", GateConfig(model=str(altered)))
    assert fixed("faces") == str(trained.resolve())
    assert resolve("faces").name == "faces"
    assert replace(resolve("faces"), name="model") == passed.checkpoint


def test_going_back_tells_what_serves_now(
    trained: Path, altered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = resolve(str(altered)), resolve(str(trained))
    for checkpoint in (first, second):
        promoted.promote("again", checkpoint.path, checkpoint.model_id)
    rollback.main("again")
    assert capsys.readouterr().out.strip() == f"again is now {first.model_id}: {first.path}"
    assert fixed("again") == str(first.path)


def test_there_is_no_going_back_to_what_was_changed(trained: Path) -> None:
    promoted.promote("lost", trained, "other-id")
    promoted.promote("lost", trained, resolve(str(trained)).model_id)
    with pytest.raises(CallerError, match="changed since its promotion"):
        job.roll_back("lost")
    assert fixed("lost") == str(trained.resolve())


def test_a_checkpoint_that_was_changed_since_serves_no_more(altered: Path) -> None:
    promoted.promote("changed", altered, "other-id")
    with pytest.raises(CallerError, match="was changed since its promotion"):
        resolve("changed")


@pytest.mark.parametrize("name", ["expllm-135m", "a/b"])
def test_a_name_that_cannot_be_given_is_refused_before_anything_is_tried(name: str, tmp_path: Path) -> None:
    with pytest.raises(CallerError, match=r"model that ships|is no name"):
        job.promote(name, GateConfig(model=str(tmp_path)))
