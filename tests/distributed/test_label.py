"""The whole job over a model of random weights: its texts are gibberish, so faces end as rejected, once."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import ray
from PIL import Image

from expllm.config import LabelConfig
from expllm.distributed import label, storage, table
from expllm.distributed.verify import verify
from expllm.errors import CallerError, RunError

pytestmark = pytest.mark.timeout(1200)

# In float32 a text does not depend on what else is in its batch.
ENGINE = {"dtype": "float32", "max_num_seqs": 16}
VARYING = {"run_id", "labelled_at"}


def face(number):
    names = ("01_happiness.jpg", "08_neutral.jpg")
    return files("expllm").joinpath("data", "demo", names[number]).read_bytes()


def green():
    buffer = io.BytesIO()
    Image.new("RGB", (200, 200), "green").save(buffer, "PNG")
    return buffer.getvalue()


def rows(output):
    found = table.open_table(output).to_pyarrow_table().to_pylist()
    return {(Path(row["photo_uri"]).name, row["face_index"]): row for row in found}


def fixed(row):
    return {column: value for column, value in row.items() if column not in VARYING}


@pytest.fixture(scope="module")
def job(local_ray, tiny_checkpoint):
    """Run the label job; the Serve engine is started once and shared."""

    def run(source, output, *, relabel=False, **settings):
        defaults = {"model": str(tiny_checkpoint), "engine": "serve", "engine_kwargs": ENGINE}
        config = LabelConfig.of({**defaults, "max_reject_rate": 1.0, "shard_size": 2, **settings})
        return label.run(source, output, config, relabel=relabel)

    return run


@pytest.fixture(scope="module")
def source(local_ray):
    """Six photographs in a bucket: two with a face, a copy of one, and three without use."""
    prefix = f"s3://photos/in{time.time_ns()}"
    photographs = {
        "a.jpg": face(0),
        "b.jpg": face(1),
        "copy of a.jpg": face(0),
        "green.png": green(),
        "text.jpg": b"not a photograph",
        "cut.jpg": face(1)[:3000],
    }
    for name, data in photographs.items():
        storage.write(f"{prefix}/{name}", data)
    return prefix


@pytest.fixture(scope="module")
def labelled(job, source):
    """The bucket labelled once, by an engine inside the job."""
    output = f"s3://photos/out{time.time_ns()}"
    return output, job(source, output, engine="vllm")


def test_every_photograph_has_its_row(labelled):
    output, _ = labelled
    ended = {name: (row["outcome"], row["reject_reason"]) for (name, _), row in rows(output).items()}
    assert ended["green.png"] == ("no_face", None)
    assert ended["text.jpg"] == ("rejected", "unknown_format")
    assert ended["cut.jpg"] == ("rejected", "truncated")
    assert all(ended[name][1] in ("text_truncated", "text_malformed") for name in ("a.jpg", "b.jpg"))
    assert verify(output).num_photographs == 6


def test_a_copy_is_labelled_with_its_original(labelled):
    found = rows(labelled[0])
    own = {"photo_uri", "photo_etag"}
    copy, original = found["copy of a.jpg", 0], found["a.jpg", 0]
    assert {k: v for k, v in copy.items() if k not in own} == {
        k: v for k, v in original.items() if k not in own
    }


def test_a_face_carries_what_was_measured_and_what_it_cost(labelled):
    row = rows(labelled[0])["b.jpg", 0]
    assert row["detection_score"] > 0.5 and row["action_units"]["au12"] is not None
    assert row["prompt_tokens"] > 49 and row["generated_tokens"] > 0
    assert row["face_id"] == f"{row['photo_id']}-0"


def test_a_run_leaves_its_configuration_versions_and_counts(labelled, source):
    output, summary = labelled
    read = {
        name: json.loads(storage.read(f"{output}/runs/{summary.run_id}/{name}.json"))
        for name in ("config", "versions", "metrics")
    }
    assert (read["config"]["input"], read["config"]["engine"]) == (source, "vllm")
    assert read["versions"]["ray"] and read["versions"]["model_id"]
    assert read["metrics"]["outcomes"] == {"no_face": 1, "rejected": 5}


def test_a_repeated_run_does_nothing(labelled, source, job):
    output, _ = labelled
    before = [(one.uri, one.etag) for one in storage.children(output)]
    assert job(source, output).line == "nothing to do: all 6 photographs are labelled already"
    assert [(one.uri, one.etag) for one in storage.children(output)] == before


def test_another_prompt_is_refused_before_anything_is_done(labelled, source, job):
    with pytest.raises(CallerError, match=r"made with another prompt_id .* add --relabel"):
        job(source, labelled[0], hints=False)


def test_the_served_engine_gives_the_same_rows(labelled, source, job, tmp_path):
    job(source, str(tmp_path))
    served, in_job = rows(str(tmp_path)), rows(labelled[0])
    assert {key: fixed(row) for key, row in served.items()} == {
        key: fixed(row) for key, row in in_job.items()
    }


def test_only_what_is_new_or_changed_is_labelled(job, tmp_path):
    folder, output = tmp_path / "in", str(tmp_path / "out")
    folder.mkdir()
    (folder / "kept.jpg").write_bytes(face(0))
    (folder / "changed.jpg").write_bytes(face(1))
    first = job(str(folder), output)
    (folder / "changed.jpg").write_bytes(b"no longer one")
    (folder / "new.png").write_bytes(green())
    second = job(str(folder), output)
    runs = {name: row["run_id"] for (name, _), row in rows(output).items()}
    assert runs == {"kept.jpg": first.run_id, "changed.jpg": second.run_id, "new.png": second.run_id}
    assert verify(output).num_photographs == 3


def test_relabelling_replaces_every_row(job, tmp_path):
    (tmp_path / "a.jpg").write_bytes(face(0))
    output = str(tmp_path / "out")
    before = job(str(tmp_path / "a.jpg"), output)
    after = job(str(tmp_path / "a.jpg"), output, hints=False, relabel=True)
    (row,) = rows(output).values()
    assert before.run_id != row["run_id"] == after.run_id
    assert row["prompt_id"].endswith("-no-hints")


def test_too_many_rejects_fail_the_run_and_keep_its_rows(job, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    output = str(tmp_path / "out")
    with pytest.raises(RunError, match=r"2 of 2 rows were rejected, .*: unknown_format 2"):
        job(str(tmp_path / "*.jpg"), output, max_reject_rate=0.5)
    assert verify(output).outcomes == {"rejected": 2}


def test_more_workers_than_the_cluster_holds_are_refused(job, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(CallerError, match=r"the configured workers need .* CPU, the cluster has"):
        job(str(tmp_path), str(tmp_path / "out"), face_workers=1000)


def test_a_killed_job_started_again_labels_every_photograph_once(job, tiny_checkpoint, tmp_path):
    folder, output = tmp_path / "in", str(tmp_path / "out")
    folder.mkdir()
    for number in range(24):
        (folder / f"{number:02}.jpg").write_bytes(face(number % 2) + bytes(number))
    command = [sys.executable, "-m", "jobs.label", str(folder), output, "--model", str(tiny_checkpoint)]
    for setting in ("shard_size=1", "engine=serve", "max_reject_rate=1"):
        command += ["--set", setting]
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": address})
    try:
        while driver.poll() is None and _num_done(output) < 3:
            time.sleep(0.2)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    done = _num_done(output)
    assert 3 <= done < 24
    assert job(str(folder), output).num_pending == 24 - done
    assert verify(output).num_photographs == len(rows(output)) == 24


def _num_done(output):
    found = table.open_table(output)
    return 0 if found is None else found.count()
