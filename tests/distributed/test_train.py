"""Fine-tuning on Ray Train: two workers, and a model that Transformers and vLLM can load."""

import json
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from expllm import gate
from expllm.config import TrainConfig
from expllm.distributed import train
from expllm.errors import CallerError, RunError
from expllm.models import dataset
from expllm.models.checkpoint import resolve
from jobs import faces as rendered

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    rendered.main(folder / "faces", count=16, size_px=160)
    dataset.prepare([folder / "faces"], folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="module")
def config(prepared, random_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained")
    return TrainConfig(
        faces=str(prepared),
        output=str(output),
        model=str(random_checkpoint),
        steps=3,
        batch_size=4,
        workers=2,
    )


@pytest.fixture(scope="module")
def told(local_ray, config):
    with redirect_stderr(StringIO()) as told:
        train.run(config)
    return told.getvalue()


@pytest.fixture(scope="module")
def trained(told, config):
    return Path(config.output) / train.MODEL


def test_two_workers_leave_a_model_that_can_be_labelled_with(trained, random_checkpoint):
    assert resolve(str(trained)).model_id != resolve(str(random_checkpoint)).model_id


def test_the_card_says_what_the_model_was_trained_from(trained, random_checkpoint):
    assert json.loads((trained / "card.json").read_text())["trained_from"] == str(random_checkpoint)


def test_what_the_gate_holds_the_model_to_lies_beside_it(trained, random_checkpoint):
    record = gate.Record.read(trained)
    assert record.base_id == resolve(str(random_checkpoint)).model_id
    assert list(record.adapters) == ["language model"] and not list(gate.idle(record))


def test_the_progress_is_told_in_plain_lines(told):
    assert "of 3 steps, loss " in told.splitlines()[-1]


def test_a_finished_output_is_not_taken_for_another_training(trained, config):
    with pytest.raises(CallerError, match="seed"):
        train.run(config.model_copy(update={"seed": 1}))


def test_a_failure_in_a_worker_is_one_line(local_ray, config, prepared, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / "crops.npy").symlink_to(prepared / "crops.npy")
    table = pq.read_table(prepared / "faces.parquet").drop_columns(["detected"])
    pq.write_table(table, faces / "faces.parquet")
    broken = {"faces": str(faces), "output": str(tmp_path / "out"), "max_failures": 0, "workers": 1}
    with pytest.raises(RunError, match="detected") as ended:
        train.run(config.model_copy(update=broken))
    assert "\n" not in str(ended.value)


def test_missing_faces_are_named(config, tmp_path):
    with pytest.raises(CallerError, match="/no/such"):
        train.run(config.model_copy(update={"faces": "/no/such", "output": str(tmp_path)}))
