"""What a training leaves is whole or not there, in a folder and on S3 alike."""

import json
from pathlib import Path

import pytest
import torch

from expllm.distributed import storage
from expllm.distributed.training_output import (
    METRICS,
    PROGRESS,
    Journal,
    has_checkpoint,
    local_steps,
    publish_checkpoint,
    publish_model,
)
from expllm.errors import CallerError
from expllm.models.training_checkpoints import Progress, Snapshot, newest_checkpoint


@pytest.fixture(params=["folder", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty output of each kind."""
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("s3")
    return f"s3://photos/{tmp_path.name}"


def _saved(output: str, step: int) -> None:
    weight = torch.full((3,), float(step))
    with local_steps(output) as steps:
        Snapshot({"weight": weight}, {"weight/step": torch.ones(())}, Progress(step, 1.0)).save(steps)
        publish_checkpoint(steps, output)


def _steps(output: str) -> set[str]:
    return {found.uri.split("/")[-2] for found in storage.children(storage.join(output, "steps"))}


def test_another_machine_goes_on_from_the_newest_checkpoint(output: str) -> None:
    assert not has_checkpoint(output)
    for step in (9, 10):
        _saved(output, step)
    assert has_checkpoint(output) and _steps(output) == {"step-00000010"}
    with local_steps(output) as steps:
        names = {file.name for file in newest_checkpoint(steps).iterdir()}
    assert names == {"parameters.safetensors", "optimizer.safetensors", PROGRESS}


def test_half_a_checkpoint_on_s3_is_none(s3: object, tmp_path: Path) -> None:
    output = f"s3://photos/{tmp_path.name}"
    _saved(output, 3)
    storage.write(storage.join(output, "steps", "step-00000004", "parameters.safetensors"), b"half")
    with local_steps(output) as steps:
        assert newest_checkpoint(steps).name == "step-00000003"
    _saved(output, 5)
    assert _steps(output) == {"step-00000005"}


def test_a_journal_goes_on_from_the_row_of_the_checkpoint(output: str) -> None:
    first = Journal(output)
    for step in (1, 2, 3):
        first.add(step, {"loss": 1.0})
    first.write(3, "a text")
    again = Journal(output)
    again.add(3, {"loss": 0.5})
    again.write(3, "")
    rows = storage.read(storage.join(output, METRICS)).decode().splitlines()
    assert [json.loads(row) for row in rows] == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 1.0},
        {"step": 3, "loss": 0.5},
    ]
    assert storage.read(storage.join(output, "samples", "step-00000003.md")) == b"a text"


def test_a_model_takes_the_place_of_the_one_before(output: str) -> None:
    for text, other in (("old", "adapter"), ("new", "weights")):

        def write(folder: Path, text: str = text, other: str = other) -> None:
            folder.mkdir()
            (folder / "config.json").write_text(text)
            (folder / other).touch()

        publish_model(write, output)
    assert storage.read(storage.join(output, "model", "config.json")) == b"new"
    names = {found.uri.rpartition("/")[2] for found in storage.children(output)}
    assert names == {"config.json", "weights"}


def test_a_model_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "missing" / "weights").write_text("none")

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("old")
    (tmp_path / ".model-of-a-killed-worker").mkdir()
    with pytest.raises(CallerError, match="make room") as failed:
        publish_model(write, str(tmp_path))
    assert "\n" not in str(failed.value)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "config.json").read_text() == "old"
