"""What keeps a training from beginning is told in one line, before any worker starts."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expllm.distributed.training_settings import checked
from expllm.errors import CallerError
from expllm.train_config import TrainConfig


def _prepared(folder: Path, people: list[int]) -> Path:
    """What the checks see of prepared faces."""
    folder.mkdir()
    (folder / "crops.npy").touch()
    pq.write_table(pa.table({"person": people}), folder / "faces.parquet")
    return folder


@pytest.fixture
def config(tmp_path: Path, random_checkpoint: Path) -> TrainConfig:
    faces = _prepared(tmp_path / "prepared", [1, 2, 2])
    return TrainConfig(
        faces=str(faces), output=str(tmp_path / "out"), model=str(random_checkpoint), steps=3, batch_size=4
    )


def _refused(config: TrainConfig, **changes: object) -> str:
    with pytest.raises(CallerError) as refused:
        checked(config.model_copy(update=changes))
    told = str(refused.value)
    assert "\n" not in told
    return told


def _with_steps(config: TrainConfig) -> None:
    step = Path(config.output) / "steps" / "step-00000003"
    step.mkdir(parents=True)
    (step / "progress.json").write_text('{"step": 3, "elapsed_s": 1.0}')


def test_paths_become_full_for_workers_that_run_elsewhere(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(config.model)
    found = checked(config.model_copy(update={"faces": "prepared", "output": "out", "model": "model"}))
    assert found == checked(config)


def test_faces_that_are_not_there_are_named(config: TrainConfig) -> None:
    assert "/no/such" in _refused(config, faces="/no/such")


@pytest.mark.parametrize("missing", ["crops.npy", "faces.parquet"])
def test_an_unprepared_folder_is_told_how_to_prepare_it(config: TrainConfig, missing: str) -> None:
    (Path(config.faces) / missing).unlink()
    told = _refused(config)
    assert missing in told and "jobs.train_default prepare" in told


def test_a_table_of_something_else_is_refused(config: TrainConfig) -> None:
    table = Path(config.faces) / "faces.parquet"
    pq.write_table(pa.table({"photo": ["a"]}), table)
    assert "faces.parquet" in _refused(config)
    table.write_bytes(b"no Parquet")
    assert "faces.parquet" in _refused(config)


def test_one_person_cannot_be_both_trained_on_and_held_out(config: TrainConfig, tmp_path: Path) -> None:
    assert "1 people" in _refused(config, faces=str(_prepared(tmp_path / "one", [7, 7])))


def test_a_batch_that_cannot_be_divided_is_refused(config: TrainConfig) -> None:
    told = _refused(config, batch_size=5, workers=2)
    assert "batch_size 5" in told and "2 workers" in told


def test_a_model_that_reads_other_crops_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    model = Path(shutil.copytree(config.model, tmp_path / "other"))
    fields = json.loads((model / "preprocessing.json").read_text())
    (model / "preprocessing.json").write_text(json.dumps(fields | {"crop": "box padded to square"}))
    assert "box padded to square" in _refused(config, model=str(model))


def test_parts_that_are_not_there_are_named(config: TrainConfig) -> None:
    parts = {"data": ("instructed",), "faces": None, "encoder": "/no/such", "language_model": "/no/such"}
    with pytest.raises(CallerError, match="encoder /no/such: holds no config"):
        checked(config.model_copy(update=parts), "data-id")


def test_an_output_that_cannot_be_written_is_named(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in _refused(config, output=str(tmp_path / "file" / "out"))


def test_a_training_goes_on_with_other_machines(config: TrainConfig) -> None:
    first = checked(config)
    _with_steps(config)
    elsewhere = config.model_copy(
        update={"workers": 4, "use_gpu": True, "save_every_s": 9.0, "sharding": "fsdp2"}
    )
    assert checked(elsewhere).output == first.output


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("steps", 4), ("adapter_rate", 1e-3)])
def test_the_steps_of_another_training_are_not_taken_over(
    config: TrainConfig, name: str, value: float
) -> None:
    checked(config)
    _with_steps(config)
    assert name in _refused(config, **{name: value})


def test_the_steps_of_other_faces_are_not_taken_over(config: TrainConfig, tmp_path: Path) -> None:
    checked(config)
    _with_steps(config)
    assert "other faces" in _refused(config, faces=str(_prepared(tmp_path / "others", [3, 4])))


def test_steps_of_unknown_settings_are_not_taken_over(config: TrainConfig) -> None:
    _with_steps(config)
    assert "name another output" in _refused(config)


def test_settings_without_steps_are_replaced(config: TrainConfig) -> None:
    checked(config)
    checked(config.model_copy(update={"seed": 5}))
    assert json.loads((Path(config.output) / "training.json").read_text())["seed"] == 5


def test_half_a_checkpoint_is_none(config: TrainConfig) -> None:
    checked(config)
    step = Path(config.output) / "steps" / "step-00000003"
    step.mkdir(parents=True)
    (step / "parameters.safetensors").touch()
    checked(config.model_copy(update={"seed": 5}))
