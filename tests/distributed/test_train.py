"""Fine-tuning on Ray Train: two workers, and a model that Transformers and vLLM can load."""

import json
import os
import signal
import threading
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray.train
import torch
from safetensors.torch import load_file

from expllm import gate
from expllm.distributed import storage, train
from expllm.errors import CallerError, RunError
from expllm.models import dataset
from expllm.models.checkpoint import resolve
from expllm.models.training_checkpoints import OPTIMIZER, PARAMETERS, PROGRESS, newest_checkpoint
from expllm.train_config import TrainConfig
from jobs import faces as rendered

pytestmark = pytest.mark.timeout(600)
STEPS = 6


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    rendered.main(folder / "faces", count=12, size_px=160)
    dataset.prepare([folder / "faces"], folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="module")
def config(prepared, tiny_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained")
    return TrainConfig(
        faces=str(prepared),
        output=str(output),
        model=str(tiny_checkpoint),
        steps=STEPS,
        batch_size=4,
        adapter_dropout=0.1,
        workers=2,
        samples=1,
    )


@pytest.fixture(scope="module")
def told(ray_cluster, config):
    with redirect_stderr(StringIO()) as told:
        train.run(config)
    return told.getvalue()


@pytest.fixture(scope="module")
def trained(told, config):
    return Path(config.output) / train.MODEL


def steps_told(output):
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert all(row["loss"] > 0 for row in rows)
    return [row["step"] for row in rows]


def learnt(output):
    return load_file(newest_checkpoint(output / "steps") / PARAMETERS)


def test_two_workers_leave_a_model_that_can_be_labelled_with(trained, tiny_checkpoint):
    assert resolve(str(trained)).model_id != resolve(str(tiny_checkpoint)).model_id


def test_the_card_says_what_the_model_was_trained_from(trained, tiny_checkpoint):
    assert json.loads((trained / "card.json").read_text())["trained_from"] == str(tiny_checkpoint)


def test_what_the_gate_holds_the_model_to_lies_beside_it(trained, tiny_checkpoint):
    record = gate.Record.read(trained)
    assert record.base_id == resolve(str(tiny_checkpoint)).model_id
    assert list(record.adapters) == ["language model"] and not list(gate.idle(record))


def test_the_progress_is_told_in_plain_lines(told):
    assert f"of {STEPS} steps, loss " in told.splitlines()[-1]


def test_metrics_curves_and_samples_lie_beside_the_checkpoints(trained, config):
    output = Path(config.output)
    assert steps_told(output) == list(range(1, STEPS + 1))
    assert (output / "curves.svg").read_text().startswith("<svg")
    assert (output / "samples" / "step-00000006.md").read_text().startswith("# Face 1: ")
    assert [step.name for step in (output / "steps").iterdir()] == ["step-00000006"]


def test_a_finished_output_is_not_taken_for_another_training(trained, config):
    with pytest.raises(CallerError, match="seed"):
        train.run(config.model_copy(update={"seed": 1}))


def test_a_failure_in_a_worker_is_one_line(ray_cluster, config, prepared, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / "crops.npy").symlink_to(prepared / "crops.npy")
    table = pq.read_table(prepared / "faces.parquet").drop_columns(["detected"])
    pq.write_table(table, faces / "faces.parquet")
    broken = {"faces": str(faces), "output": str(tmp_path / "out"), "max_failures": 0, "workers": 1}
    with pytest.raises(RunError, match="detected") as ended:
        train.run(config.model_copy(update=broken))
    assert "\n" not in str(ended.value)


def test_what_no_worker_can_begin_with_is_one_line(ray_cluster, config, tmp_path):
    wrong = {"encoder_layers": ("q_proj",), "output": str(tmp_path), "workers": 1}
    with pytest.raises(CallerError, match=r"set encoder_layers = \[\]") as refused:
        train.run(config.model_copy(update=wrong))
    assert "\n" not in str(refused.value)


def test_a_killed_worker_changes_nothing(trained, config, tmp_path):
    """The second worker is killed at its second step or soon after; all go on from the newest checkpoint."""
    killed, output = tmp_path / "killed", tmp_path / "broken"

    def dying(settings):
        def kill():
            while not (saved := sorted((output / "steps").glob("step-*[2-9]"))):
                time.sleep(0.01)
            killed.write_text(saved[-1].name)
            os.kill(os.getpid(), signal.SIGKILL)

        if ray.train.get_context().get_world_rank() == 1 and not killed.exists():
            threading.Thread(target=kill, daemon=True).start()
        return train.work(settings)

    train.run(config.model_copy(update={"output": str(output), "save_every_s": 1e-6, "samples": 0}), dying)
    assert killed.read_text() < "step-00000006"
    assert steps_told(output) == list(range(1, STEPS + 1))
    whole, broken = learnt(Path(config.output)), learnt(output)
    assert whole.keys() == broken.keys()
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())


def test_an_object_store_holds_a_training(ray_cluster, s3, config, tmp_path):
    output = "s3://photos/trained"
    stored = config.model_copy(update={"output": output, "steps": 2, "sharding": "fsdp2"})
    assert train.run(stored) == f"{output}/model"
    names = {found.uri.removeprefix(f"{output}/") for found in storage.children(output)}
    step = {f"steps/step-00000002/{file}" for file in (PARAMETERS, OPTIMIZER, PROGRESS)}
    assert step | {"metrics.jsonl", "curves.svg", "training.json", "model/config.json"} <= names
    with pytest.raises(CallerError, match="seed"):
        train.run(stored.model_copy(update={"seed": 9}))
    rows = storage.read(f"{output}/metrics.jsonl").decode().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2]
    for uri in (found.uri for found in storage.children(f"{output}/model")):
        storage.download(uri, tmp_path / Path(uri).name)
    assert resolve(str(tmp_path)).preprocessing.size_px == 112


def test_a_bucket_that_is_not_there_is_named(s3, config):
    with pytest.raises(CallerError, match="no bucket"):
        train.run(config.model_copy(update={"output": "s3://nobucket/trained"}))


def test_missing_faces_are_named(config, tmp_path):
    with pytest.raises(CallerError, match="/no/such"):
        train.run(config.model_copy(update={"faces": "/no/such", "output": str(tmp_path)}))
