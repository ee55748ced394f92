import time
from pathlib import Path

import duckdb
import duckdb_extension_delta
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from expllm.distributed import table
from expllm.errors import RunError
from expllm.tables import LABELS


@pytest.fixture(params=["folder", "s3"])
def output(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("s3")
    return f"s3://photos/table{time.time_ns()}"


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


def test_a_table_that_cannot_be_opened_for_a_moment_is_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    committer = table.Committer(str(tmp_path), table.create(str(tmp_path)))
    opened = iter([OSError("connection reset"), None])

    def open_at_the_second_try(*arguments, **options):
        if (error := next(opened)) is not None:
            raise error
        return DeltaTable(*arguments, **options)

    with monkeypatch.context() as broken:
        broken.setattr(table, "DeltaTable", open_at_the_second_try)
        commit(committer, rows("a"))
    assert uris(str(tmp_path)) == ["a"]


def test_a_table_from_before_the_newest_columns_gets_them(tmp_path):
    before = pa.schema([field for field in LABELS if field.name != "num_faces"])
    DeltaTable.create(str(tmp_path / "labels"), schema=before)
    write_deltalake(tmp_path / "labels", rows("old").select(before.names), mode="append")
    assert table.keys(table.open_table(str(tmp_path)))["num_faces"].to_pylist() == [None]
    commit(table.Committer(str(tmp_path), table.create(str(tmp_path))), rows("new"))
    assert table.open_table(str(tmp_path)).to_pyarrow_table().cast(LABELS).num_rows == 2


def test_a_data_file_that_is_gone_is_one_line_that_names_the_table(tmp_path):
    commit(table.Committer(str(tmp_path), table.create(str(tmp_path))), rows("a"))
    for path in (tmp_path / "labels").glob("*.parquet"):
        path.unlink()
    with pytest.raises(RunError, match=r"/labels/?: the table cannot be read: .*[Nn]o such file") as raised:
        table.keys(table.open_table(str(tmp_path)))
    assert "\n" not in str(raised.value)


def test_a_log_that_is_damaged_is_one_line_that_names_the_table(tmp_path):
    table.create(str(tmp_path))
    (tmp_path / "labels" / "_delta_log" / f"{1:020}.json").write_text("{no\n")
    with pytest.raises(RunError, match=r"/labels: the table cannot be read: ") as raised:
        table.open_table(str(tmp_path))
    assert "\n" not in str(raised.value)


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
