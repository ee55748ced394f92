"""What is forgotten is nowhere: not in the table, not in its old versions, not in manifests, not again."""

import time
from pathlib import Path

import pyarrow as pa
import pytest

from expllm.distributed import forget, manifest, runs, storage, table
from expllm.distributed.verify import verify
from expllm.errors import CallerError, RunError
from expllm.tables import LABELS, MANIFEST

SECRET, OTHER, THIRD = "s3://photos/secret-name.jpg", "s3://photos/other.jpg", "s3://photos/third.jpg"


@pytest.fixture(params=["folder", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two runs and a report; the second run labelled a changed photograph anew."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    out = str(tmp_path) if request.param == "folder" else f"s3://photos/forget{time.time_ns()}"
    committer = table.Committer(out, table.create(out))
    promise(out, "run1", {SECRET: "1", OTHER: "1"})
    committer.commit(rows({SECRET: "1"}), replaced=(), metadata={})
    committer.commit(rows({OTHER: "1"}), replaced=(), metadata={})
    promise(out, "run2", {SECRET: "2", OTHER: "1"})
    committer.commit(rows({SECRET: "2"}), replaced={SECRET}, metadata={})
    promise(out, "run3", {THIRD: "1"}, source="../third.jpg")
    committer.commit(rows({THIRD: "1"}), replaced=(), metadata={})
    runs.write(out, "run3", "config", {"input": "../third.jpg"})
    storage.write(storage.join(out, "report.html"), SECRET.encode())
    return out


def listed(tags: dict[str, str]) -> pa.Table:
    rows = [{"photo_uri": uri, "photo_etag": tag, "size_bytes": 1} for uri, tag in sorted(tags.items())]
    return pa.Table.from_pylist(rows, schema=MANIFEST)


def promise(output: str, run_id: str, tags: dict[str, str], source: str = "input") -> None:
    manifest.write(output, run_id, source, listed(tags))


def rows(tags: dict[str, str]) -> pa.Table:
    """Two faces of each photograph."""
    faces = [
        {"photo_uri": uri, "photo_etag": tag, "face_index": face, "num_faces": 2, "outcome": "labelled"}
        for uri, tag in tags.items()
        for face in range(2)
    ]
    return pa.Table.from_pylist(faces, schema=LABELS)


def mentions(output: str, name: str) -> list[str]:
    """Every object of the output that holds a name, in its bytes or, in Parquet, in its strings."""
    found = []
    for stored in storage.children(output):
        data = storage.read(stored.uri)
        text = str(pa.parquet.read_table(pa.BufferReader(data)).to_pylist()) if _is_parquet(data) else ""
        if name in text or name.encode() in data:
            found.append(stored.uri)
    return found


def _is_parquet(data: bytes) -> bool:
    return data.startswith(b"PAR1")


def test_nothing_of_a_forgotten_photograph_is_left(output: str) -> None:
    assert len(mentions(output, "secret-name")) > 4
    gone = forget.forget(output, {SECRET})
    assert (gone.num_photographs, gone.num_rows, gone.num_unknown) == (1, 2, 0)
    assert mentions(output, "secret-name") == []
    assert verify(output).num_photographs == 2


def test_files_without_it_stay_as_they_are(output: str) -> None:
    def held() -> set[str]:
        return {f.uri for f in storage.children(storage.join(output, "labels")) if "_delta_log" not in f.uri}

    before = held()
    forget.forget(output, {SECRET})
    assert len(held() & before) == 2 and not held() - before


def test_the_input_of_a_run_that_was_the_photograph_itself_is_erased(output: str) -> None:
    forget.forget(output, {THIRD})
    assert mentions(output, "third.jpg") == []


def test_it_is_not_labelled_again(output: str) -> None:
    forget.forget(output, {SECRET, "s3://photos/not-here.jpg"})
    left = forget.unforgotten(output, listed({SECRET: "3", OTHER: "1", "s3://photos/not-here.jpg": "1"}))
    assert left["photo_uri"].to_pylist() == [OTHER]


def test_where_nothing_is_forgotten_all_is_labelled(tmp_path: Path) -> None:
    assert forget.unforgotten(str(tmp_path), listed({OTHER: "1"})).num_rows == 1


def test_forgetting_again_finds_nothing_more(output: str) -> None:
    forget.forget(output, {SECRET})
    tombstones = storage.children(storage.join(output, "forgotten"))
    again = forget.forget(output, {SECRET})
    assert (again.num_photographs, again.num_rows, again.num_unknown) == (0, 0, 1)
    assert storage.children(storage.join(output, "forgotten")) == tombstones


def test_two_of_a_list_are_forgotten_together(output: str, tmp_path: Path) -> None:
    photos = tmp_path / "list.txt"
    photos.write_text(f"{SECRET}\n{OTHER}\n")
    gone = forget.forget(output, forget.named((), str(photos)))
    assert (gone.num_photographs, gone.num_rows) == (2, 4)
    assert verify(output).num_photographs == 1


def test_a_run_that_is_going_on_stops(output: str) -> None:
    going_on = table.Committer(output, table.create(output))
    forget.forget(output, {SECRET})
    with pytest.raises(RunError, match="another run"):
        going_on.commit(rows({SECRET: "2"}), replaced=(), metadata={})
    assert mentions(output, "secret-name") == []


def test_rows_that_a_killed_run_left_outside_the_table_go_too(output: str) -> None:
    orphan = pa.BufferOutputStream()
    pa.parquet.write_table(rows({SECRET: "9"}), orphan)
    storage.write(storage.join(output, "labels", "part-left.parquet"), orphan.getvalue().to_pybytes())
    forget.forget(output, {SECRET})
    assert mentions(output, "secret-name") == []


def test_a_relative_name_means_the_file_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert forget.named(["a.jpg", SECRET], None) == {str(tmp_path / "a.jpg"), SECRET}


def test_an_output_without_labels_and_a_call_without_photographs_are_named(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="no labels are here"):
        forget.forget(str(tmp_path), {SECRET})
    with pytest.raises(CallerError, match="give --photo"):
        forget.named((), None)
