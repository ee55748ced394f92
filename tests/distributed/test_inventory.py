"""S3 Inventory reports, as S3 writes them."""

import gzip
import hashlib
import io
import json
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expllm.distributed import listing, storage
from expllm.errors import CallerError, RunError

pytestmark = pytest.mark.usefixtures("s3")

CSV = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag"
ROWS = (
    '"faces","a+b/caf%C3%A9.jpg","v1","true","false","3","e1"\n'
    '"faces","a+b/old.jpg","v1","false","false","3","e2"\n'
    '"faces","a+b/deleted.jpg","v2","true","true","0",""\n'
    '"faces","notes.txt","v1","true","false","3","e3"\n'
    '"faces","folder/","v1","true","false","0","e4"\n'
)
EXPECTED = [("s3://faces/a b/café.jpg", "e1", 3)]


def report(data: bytes, *, kind: str, schema: str, **other: Any) -> str:
    """Write a report of one file, and name its manifest."""
    place = f"inventory{time.time_ns()}"
    storage.write(f"s3://photos/{place}/data/part", data)
    manifest = {
        "sourceBucket": "faces",
        "destinationBucket": "arn:aws:s3:::photos",
        "fileFormat": kind,
        "fileSchema": schema,
        "files": [{"key": f"{place}/data/part", "MD5checksum": hashlib.md5(data).hexdigest()}],
        **other,
    }
    storage.write(f"s3://photos/{place}/manifest.json", json.dumps(manifest).encode())
    return f"s3://photos/{place}/manifest.json"


def listed(source: str) -> list[tuple[str, str, int]]:
    return [tuple(row.values()) for batch in listing.list_photographs(source) for row in batch.to_pylist()]


def parquet(**columns: list[Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_a_csv_report_lists_the_photographs_that_are_there() -> None:
    assert listed(report(gzip.compress(ROWS.encode()), kind="CSV", schema=CSV)) == EXPECTED


def test_a_parquet_report_lists_the_same() -> None:
    data = parquet(
        bucket=["faces"] * 3,
        key=["a b/café.jpg", "a b/old.jpg", "notes.txt"],
        is_latest=[True, False, True],
        is_delete_marker=[False, False, False],
        size=[3, 3, 3],
        e_tag=["e1", "e2", "e3"],
    )
    assert listed(report(data, kind="Parquet", schema="message s3.inventory { key size e_tag }")) == EXPECTED


def test_a_file_that_is_not_the_one_meant_is_refused() -> None:
    files = [{"key": "ready", "MD5checksum": "0" * 32}]
    with pytest.raises(RunError, match="not the file that the manifest names"):
        listed(report(b"", kind="CSV", schema=CSV, files=files))


@pytest.mark.parametrize(
    ("kind", "schema", "said"),
    [("ORC", CSV, "ask for Parquet"), ("CSV", "Bucket, Key, Size", "has no field ETag")],
)
def test_what_cannot_be_used_is_the_callers_mistake(kind: str, schema: str, said: str) -> None:
    with pytest.raises(CallerError, match=said):
        listed(report(b"", kind=kind, schema=schema))


@pytest.mark.parametrize("text", ["no json", "[]", '{"files": []}'])
def test_another_file_of_that_name_is_the_callers_mistake(text: str) -> None:
    source = f"s3://photos/other{time.time_ns()}/manifest.json"
    storage.write(source, text.encode())
    with pytest.raises(CallerError, match=r"manifest.json of an S3 Inventory report"):
        listed(source)
