"""The whole job over a small model that knows one answer: every photograph once, however the job ends."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from PIL import Image

from expllm.config import LabelConfig
from expllm.distributed import label, manifest, storage, table
from expllm.distributed.verify import verify
from expllm.errors import CallerError, RunError
from expllm.tables import LABELS, MANIFEST

pytestmark = pytest.mark.timeout(1200)

# In float32 a text does not depend on what else is in its batch.
ENGINE = {"dtype": "float32", "max_num_seqs": 16}
VARYING = {"run_id", "labelled_at"}


def face(number):
    names = ("01_happiness.jpg", "08_neutral.jpg")
    return files("expllm").joinpath("data", "demo", names[number]).read_bytes()


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


def saved(picture, kind, **how):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def cmyk(photograph):
    return saved(Image.open(io.BytesIO(photograph)).convert("CMYK"), "JPEG", quality=92)


def huge():
    """A PNG of a few bytes whose header announces 50,000 x 50,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


PLAIN = Image.new("RGB", (200, 200), "green")
ENDS = {
    "a.jpg": (face(0), "labelled", None),
    "b.jpg": (face(1), "labelled", None),
    "copy of a.jpg": (face(0), "labelled", None),
    "cmyk.jpg": (cmyk(face(0)), "labelled", None),
    "plain.png": (saved(PLAIN, "PNG"), "no_face", None),
    "16 bit.png": (saved(Image.new("I;16", (200, 200), 40_000), "PNG"), "no_face", None),
    "empty.jpg": (b"", "rejected", "empty"),
    "text.jpg": (b"not a photograph", "rejected", "unknown_format"),
    "cut.jpg": (face(1)[:3000], "rejected", "truncated"),
    "moving.webp": (saved(PLAIN, "WEBP", save_all=True, append_images=[Image.new("RGB", (200, 200))]),
                    "rejected", "animated"),
    "pixel.png": (saved(Image.new("RGB", (1, 1)), "PNG"), "rejected", "too_small"),
    "huge.png": (huge(), "rejected", "too_large"),
}  # fmt: skip
"""Photographs by name: their bytes, and how they end."""


@pytest.fixture(scope="module")
def source(local_ray):
    """A bucket of photographs, some of no use."""
    prefix = f"s3://photos/in{time.time_ns()}"
    for name, (data, _, _) in ENDS.items():
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
    assert ended == {name: (outcome, reason) for name, (_, outcome, reason) in ENDS.items()}
    assert verify(output).num_photographs == len(ENDS)


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


def test_a_labelled_face_has_its_text_its_scores_and_its_agreement(labelled):
    row = rows(labelled[0])["a.jpg", 0]
    assert row["key_observations"] == "strong lip corner puller (happiness)."
    assert (row["expression"], row["dominant"], row["secondary"]) == ("happiness", "happiness", "surprise")
    assert row["observations"] == [
        {"au": 12, "side": "both", "strength": "strong", "associated": ["happiness"]}
    ]
    assert sum(row["expression_scores"].values()) == pytest.approx(1, abs=1e-5)
    assert row["confidence"] == row["expression_scores"]["happiness"] and row["label_only_agrees"]
    assert row["au_precision"] == 1 and 0 < row["au_recall"] < 1


def test_a_run_leaves_its_configuration_versions_and_counts(labelled, source):
    output, summary = labelled
    read = {
        name: json.loads(storage.read(f"{output}/runs/{summary.run_id}/{name}.json"))
        for name in ("config", "versions", "metrics")
    }
    assert (read["config"]["input"], read["config"]["engine"]) == (source, "vllm")
    assert read["versions"]["ray"] and read["versions"]["model_id"]
    assert read["metrics"]["outcomes"] == {"labelled": 4, "no_face": 2, "rejected": 6}


def test_a_repeated_run_does_nothing(labelled, source, job):
    output, _ = labelled
    before = [(one.uri, one.etag) for one in storage.children(output)]
    assert job(source, output).line == "nothing to do: all 12 photographs have their rows already"
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


@pytest.fixture(scope="module")
def history(job, tmp_path_factory):
    """An output after each of four runs over one list: the summary and the rows by name and face."""
    folder = tmp_path_factory.mktemp("history")
    source, output = str(folder / "list.txt"), str(folder / "out")
    for name in ("kept.jpg", "changed.jpg", "lost.jpg"):
        (folder / name).write_bytes(face(name == "changed.jpg"))
    names = ["kept.jpg", "changed.jpg", "lost.jpg", "absent.jpg"]
    (folder / "list.txt").write_text("\n".join(names))
    manifest.write(output, "20250101T000000", source, promised(folder / "deleted.jpg"))
    label_by_another_model(output, str(folder / "kept.jpg"))
    runs = [(job(source, output, relabel=True), rows(output))]
    (folder / "changed.jpg").write_bytes(b"no longer one")
    (folder / "new.png").write_bytes(ENDS["plain.png"][0])
    (folder / "list.txt").write_text("\n".join([*names, "new.png"]))
    table.open_table(output).update(predicate="photo_uri LIKE '%lost.jpg'", updates={"num_faces": "2"})
    with pytest.raises(RunError, match=r"without the row of a face: .*lost\.jpg \(face 1\)"):
        verify(output)
    with pytest.raises(RunError, match=r"1 of 3 rows were rejected, .* max_reject_rate 0\.2: "):
        job(source, output, max_reject_rate=0.2)
    runs += [(None, rows(output))]
    runs += [(job(source, output, max_reject_rate=0.5), rows(output))]
    runs += [(job(source, output), rows(output))]
    assert verify(output).num_photographs == 6
    return runs


def promised(path):
    photograph = {"photo_uri": str(path), "photo_etag": "1", "size_bytes": 1}
    return pa.Table.from_pylist([photograph], schema=MANIFEST)


def label_by_another_model(output, uri):
    row = {"photo_uri": uri, "photo_etag": "1", "model_id": "another", "face_index": 0, "outcome": "labelled"}
    table.Committer(output, table.create(output)).commit(
        pa.Table.from_pylist([row], schema=LABELS), replaced=(), metadata={}
    )


def test_rows_of_another_model_are_replaced_where_that_is_asked(history):
    first, found = history[0]
    assert found["kept.jpg", 0]["run_id"] == first.run_id and found["kept.jpg", 0]["model_id"] != "another"


def test_later_runs_take_what_is_new_changed_lost_or_failed_for_a_moment(history):
    (first, _), (_, found), *_ = history
    earlier = {name for (name, _), row in found.items() if row["run_id"] == first.run_id}
    assert earlier == {"kept.jpg", "deleted.jpg"}
    assert {name for name, _ in found} - earlier == {"changed.jpg", "new.png", "lost.jpg", "absent.jpg"}


def test_too_many_rejects_fail_the_run_and_keep_its_rows(history):
    _, found = history[1]
    assert found["changed.jpg", None]["reject_reason"] == "unknown_format"
    assert found["new.png", None]["outcome"] == "no_face"


def test_what_failed_for_a_moment_is_tried_three_times(history):
    (first, _), _, (third, _), (fourth, found) = history
    assert (first.num_pending, third.num_pending, fourth.num_pending) == (5, 1, 0)
    absent = found["absent.jpg", None]
    assert (absent["reject_reason"], absent["attempts"]) == ("missing_object", 3)
    assert found["kept.jpg", 0]["attempts"] == 1


def test_a_photograph_that_was_promised_and_then_deleted_has_its_row(history):
    _, found = history[0]
    assert found["deleted.jpg", None]["reject_reason"] == "missing_object"


def test_trying_again_in_vain_does_not_fail_a_good_run(history):
    third, _ = history[2]
    assert third.outcomes == {"rejected": 1}


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
    for setting in ("shard_size=1", "engine=serve"):
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
