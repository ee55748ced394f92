"""The label command's wrong inputs: one line that names what is wrong and how to mend it, exit code 2."""

import sys
from importlib.resources import files

import pyarrow as pa
import pytest

from expllm.cli import run_command
from expllm.distributed import table
from expllm.tables import LABELS
from jobs import label

PICTURE = files("expllm").joinpath("data", "demo", "08_neutral.jpg").read_bytes()


@pytest.fixture
def told(monkeypatch, capsys, tmp_path, tiny_checkpoint):
    """Run `expllm label` with these words; the exit code and the line it leaves on stderr."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(PICTURE)
    places = {"photographs": str(folder), "out": str(tmp_path / "out"), "model": str(tiny_checkpoint)}

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["label", *(word.format(**places) for word in words)])
        with pytest.raises(SystemExit) as ended:
            run_command(label.main)
        written = capsys.readouterr().err
        assert written.count("\n") == 1 and "Traceback" not in written
        return ended.value.code, written

    return run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["/no/such/folder", "{out}"], "/no/such/folder: there is no such file or folder"),
        (["{photographs}", "/proc/out"], "/proc/out: cannot be written"),
        (["{photographs}", "{photographs}/a.jpg"], "cannot be written"),
        (["{photographs}", "{out}", "--set", "hint=true"], "hint"),
        (["{photographs}", "{out}", "--set", "limit=few"], "limit"),
        (["{photographs}", "{out}", "--set", "detector=dlib"], "detector"),
        (["{photographs}", "{out}", "--config", "/no/such.toml"], "/no/such.toml"),
        (["{photographs}", "{out}", "--model", "expllm-9b"], "no model 'expllm-9b'"),
        (["{photographs}"], "OUTPUT"),
    ],
)
def test_a_callers_mistake_is_one_line_and_exit_code_2(words, named, told):
    model = [] if "--model" in words else ["--model", "{model}"]
    code, line = told(*words, *model)
    assert code == 2 and named in line


@pytest.mark.parametrize("source", ["s3://no-such-bucket/", "s3://photos/nothing/here/"])
def test_a_bucket_without_photographs_is_named(source, told, s3):
    code, line = told(source, "{out}", "--model", "{model}")
    assert code == 2 and source.split("/")[2] in line


def test_a_bucket_that_may_not_be_read_is_named(told, s3, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, line = told("s3://photos/", "{out}", "--model", "{model}")
    assert code == 2 and "s3://photos" in line


def test_another_model_on_an_existing_output_needs_relabel(told, tmp_path):
    row = {"photo_uri": "a", "photo_etag": "1", "model_id": "another", "outcome": "no_face"}
    output = str(tmp_path / "out")
    committer = table.Committer(output, table.create(output))
    committer.commit(pa.Table.from_pylist([row], schema=LABELS), replaced=(), metadata={})
    code, line = told("{photographs}", "{out}", "--model", "{model}")
    assert code == 2 and "made with another model_id (another" in line and "add --relabel" in line
