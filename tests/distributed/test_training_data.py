"""From labelled faces to labels: texts written, examples streamed, learnt, tried, measured, put to work."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expllm import cli
from expllm.distributed import examples, train
from expllm.distributed.example_stream import ExampleStream, rows
from expllm.errors import CallerError
from expllm.models.checkpoint import resolve
from expllm.shuffling import Deal
from expllm.tables import EXAMPLES
from expllm.train_config import TrainConfig
from jobs import faces as rendered

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def numbered(s3_server, tmp_path_factory):
    """Parts of 3, 0, 7, 5, 6 and 9 examples whose persons are numbers."""
    lengths = (3, 0, 7, 5, 6, 9)
    folder = tmp_path_factory.mktemp("numbered")
    for number, length in enumerate(lengths):
        row = {"expression": "fear", "crop": b"abc", "crop_px": 1}
        table = [{**row, "text": f"{number}-{place}"} for place in range(length)]
        pq.write_table(pa.Table.from_pylist(table, schema=EXAMPLES), folder / f"part-{number:06}.parquet")
    return examples.Examples(str(folder), lengths, {})


def test_a_stream_gives_its_deal_from_any_step_on(local_ray, numbered):
    deal = Deal(numbered.lengths, seed=3, rank=1, world_size=2)
    expected = [text for w in deal.between(0, 40) for text in rows(numbered.folder, w)["text"].to_pylist()]
    stream = ExampleStream(numbered, deal, stop=40)
    seen = [text for step in range(10) for text in stream.take(np.arange(4 * step, 4 * step + 4)).texts]
    assert seen == expected[:40]
    resumed = ExampleStream(numbered, deal, stop=40)
    rest = [text for step in range(7, 10) for text in resumed.take(np.arange(4 * step, 4 * step + 4)).texts]
    assert rest == expected[28:40]


def test_examples_are_read_from_an_object_store(local_ray, s3, numbered):
    from expllm.distributed import storage

    for file in Path(numbered.folder).iterdir():
        storage.write(f"s3://photos/examples/{file.name}", file.read_bytes())
    there = examples.Examples("s3://photos/examples", numbered.lengths, {})
    deal = Deal(numbered.lengths, seed=3)
    here, away = (ExampleStream(one, deal, stop=8).take(np.arange(8)).texts for one in (numbered, there))
    assert here == away


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Rendered faces, one of whose pictures is none."""
    folder = tmp_path_factory.mktemp("rendered")
    rendered.main(folder, count=8, size_px=160, peaks=(0.9, 1.0))
    (folder / pq.read_table(folder / "faces.parquet")["file"].to_pylist()[-1]).write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module", autouse=True)
def names(tmp_path_factory):
    """Where the names of promoted models lie."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EXPLLM_MODELS", str(tmp_path_factory.mktemp("names")))
        yield


@pytest.fixture(scope="module")
def expllm(local_ray) -> Callable[..., str]:
    """A function that runs a command as its user does, on the Ray that tests share; gives what it tells."""

    def run(*words: str) -> str:
        with pytest.MonkeyPatch.context() as changed, pytest.raises(SystemExit) as ended:
            changed.setattr(sys, "argv", ["expllm", *words])
            with redirect_stdout(StringIO()) as printed, redirect_stderr(printed):
                cli.app()
        assert not ended.value.code, printed.getvalue()
        return printed.getvalue()

    return run


def apart(*words: str) -> str:
    """Run a command that needs no Ray in a process of its own: here rendering left what vLLM trips over."""
    command = [str(Path(sys.executable).with_name("expllm")), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def instructed(expllm, faces, random_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("instructed")
    expllm("build-cot", str(faces), str(output), "--set", f"model={random_checkpoint}")
    return output


@pytest.fixture(scope="module")
def config(faces, instructed, random_checkpoint, tmp_path_factory):
    return TrainConfig(
        data=(str(instructed), str(faces)),
        output=str(tmp_path_factory.mktemp("trained")),
        model=str(random_checkpoint),
        steps=4,
        batch_size=4,
        workers=2,
    )


@pytest.fixture(scope="module")
def told(expllm, config, tmp_path_factory):
    chosen = {name: getattr(config, name) for name in config.model_fields_set}
    file = tmp_path_factory.mktemp("config") / "train.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()))
    return expllm("train", str(file))


@pytest.fixture(scope="module")
def made(told, config):
    return examples.read(str(Path(config.output) / "examples"))


@pytest.fixture(scope="module")
def promoted(told, config):
    """What the gate tells, and the name that stands for the trained model since."""
    return apart("promote", str(Path(config.output) / train.MODEL), "faces")


def test_what_was_trained_passes_the_gate(promoted, config):
    passed, named = promoted.splitlines()
    assert passed.startswith("passed: log probabilities at most")
    assert named.startswith("faces is now ") and named.endswith(str(Path(config.output) / train.MODEL))


def test_what_was_promoted_is_measured(promoted, faces, tmp_path):
    asked = ("--pairs", "0", "--limit", "4", "--set", "bootstrap_rounds=10", "--out", str(tmp_path))
    assert "accuracy" in apart("evaluate", "faces", str(faces), *asked)
    assert json.loads((tmp_path / "evaluation.json").read_text())["faces"] == 4


def test_what_was_promoted_labels(promoted, expllm, faces, tmp_path):
    engine = ("--set", 'engine_kwargs={dtype="float32",max_num_seqs=4}', "--set", "max_reject_rate=1.0")
    told = expllm("label", str(faces), str(tmp_path), "--model", "faces", "--set", "limit=1", *engine)
    assert "1 photographs, 1 faces: " in told


def test_faces_and_what_is_missing_are_told_in_one_line(told):
    assert "7 faces to train on, 1 unknown_format" in told.splitlines()


def test_an_example_has_its_crop_both_measures_and_its_text(made):
    (table,) = (pq.read_table(file) for file in sorted(Path(made.folder).glob("*.parquet")))
    assert table.schema == EXAMPLES and table.num_rows == 7
    smile = next(row for row in table.to_pylist() if row["expression"] == "happiness")
    assert len(smile["crop"]) == 128 * 128 * 3 and smile["crop_px"] == 128
    assert smile["measured"]["au12"] > 0.3 and smile["action_units"]["au12"] > 0.3
    assert smile["measured"] != smile["action_units"]
    assert smile["text"].endswith("**Expression:** Happiness") and smile["person"] is not None


def test_what_is_prepared_is_not_prepared_again(made, config):
    before = {file: file.stat().st_mtime_ns for file in Path(made.folder).iterdir()}
    lessons = examples.gather(config)
    cut = resolve(config.model).preprocessing.cut
    settings = config.model_copy(update={"examples": made.folder})
    assert examples.prepare(settings, lessons, cut, None) == made
    assert {file: file.stat().st_mtime_ns for file in Path(made.folder).iterdir()} == before


def test_a_restart_makes_the_parts_that_are_not_whole(made, config, tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "PART_FACES", 3)
    settings = config.model_copy(update={"examples": str(tmp_path)})
    lessons, cut = examples.gather(config), resolve(config.model).preprocessing.cut
    first = examples.prepare(settings, lessons, cut, None)
    assert len(first.lengths) == 3 and first.num_rows == 7
    kept = (tmp_path / "part-000000.parquet").stat().st_mtime_ns
    (tmp_path / "counts.json").unlink()
    (tmp_path / "part-000001.json").unlink()
    assert examples.prepare(settings, lessons, cut, None) == first
    assert (tmp_path / "part-000000.parquet").stat().st_mtime_ns == kept


def test_examples_of_other_data_are_refused(made, config, instructed):
    settings = config.model_copy(update={"examples": made.folder, "data": (str(instructed),)})
    lessons, cut = examples.gather(settings), resolve(config.model).preprocessing.cut
    with pytest.raises(CallerError, match="holds examples of other data; name another output"):
        examples.prepare(settings, lessons, cut, None)


def test_labels_alone_must_be_asked_for_alone(config, faces, tmp_path):
    table = pq.read_table(faces / "faces.parquet", columns=["file", "expression"])
    files = pa.array([str(faces / file) for file in table["file"].to_pylist()])
    pq.write_table(table.set_column(0, "file", files), tmp_path / "labels.parquet")
    labels = config.model_copy(update={"data": (str(tmp_path),)})
    with pytest.raises(CallerError, match=r"labels are all there is, .* is 0\.25: set it to 1"):
        examples.gather(labels)
    assert examples.gather(labels.model_copy(update={"label_only_rate": 1.0})).num_unexplained == 8


def test_what_the_card_says_names_the_data(told, config):
    card = json.loads((Path(config.output) / train.MODEL / "card.json").read_text())
    assert card["settings"]["data"] == list(config.data)
