import time
from pathlib import Path

import duckdb
import duckdb_extension_delta
import pyarrow as pa
import pytest

from expllm.distributed import table
from expllm.errors import RunError
from expllm.tables import LABELS


@pytest.fixture(params=["folder", "s3"])
def output(request, tmp_path, s3):
    return str(tmp_path) if request.param == "folder" else f"s3://photos/table{time.time_ns()}"


def rows(*photographs, etag="1", faces=1):
    return pa.Table.from_pylist(
        [
            {"photo_uri": uri, "photo_etag": etag, "face_index": face, "outcome": "labelled"}
            for uri in photographs
            for face in range(faces)
        ],
        schema=LABELS,
    )


def uris(output):
    return sorted(table.keys(table.open_table(output))["photo_uri"].to_pylist())


def commit(committer, found, replaced=()):
    committer.commit(found, replaced=replaced, metadata={"shard_id": "s"})


def test_an_output_without_a_table_has_none(output):
    assert table.open_table(output) is None


def test_rows_come_back_as_they_were_committed(output):
    commit(table.Committer(output, table.create(output)), rows("a", "b", faces=2))
    assert table.open_table(output).to_pyarrow_table().cast(LABELS) == rows("a", "b", faces=2)


def test_a_changed_photograph_loses_its_old_rows_in_the_same_commit(output):
    committer = table.Committer(output, table.create(output))
    commit(committer, rows("it's", "b", faces=3))
    version = table.open_table(output).version()
    commit(committer, rows("it's", "new", etag="2"), replaced={"it's"})
    assert uris(output) == ["b", "b", "b", "it's", "new"]
    assert table.open_table(output).version() == version + 1


def test_a_run_stops_when_another_adds_rows(output):
    first = table.Committer(output, table.create(output))
    second = table.Committer(output, table.open_table(output))
    commit(first, rows("a"))
    with pytest.raises(RunError, match="another run is adding labels"):
        commit(second, rows("a"))
    assert uris(output) == ["a"]


def test_a_commit_that_landed_unheard_is_not_repeated(output, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    written = table._write

    def lose_the_answer(*arguments):
        written(*arguments)
        raise OSError("connection reset")

    committer = table.Committer(output, table.create(output))
    monkeypatch.setattr(table, "_write", lose_the_answer)
    commit(committer, rows("a"))
    commit(committer, rows("b"))
    assert uris(output) == ["a", "b"]


def test_no_uri_is_left_in_the_log(tmp_path):
    committer = table.Committer(str(tmp_path), table.create(str(tmp_path)))
    commit(committer, rows("secret-name"))
    commit(committer, rows("secret-name", etag="2"), replaced={"secret-name"})
    log = "".join(path.read_text() for path in (tmp_path / "labels" / "_delta_log").glob("*.json"))
    assert "secret-name" not in log


def test_pandas_reads_the_table(tmp_path):
    commit(table.Committer(str(tmp_path), table.create(str(tmp_path))), rows("a", "b"))
    assert list(table.open_table(str(tmp_path)).to_pandas()["photo_uri"]) == ["a", "b"]


def test_duckdb_reads_the_table_without_the_network(tmp_path):
    commit(table.Committer(str(tmp_path), table.create(str(tmp_path))), rows("a", "b", faces=2))
    connection = duckdb.connect()
    (extension,) = Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    query = f"SELECT count(DISTINCT photo_uri) FROM delta_scan('{tmp_path}/labels')"
    assert connection.execute(query).fetchone() == (2,)
