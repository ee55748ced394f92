"""An S3 Inventory report -> the objects it lists: buckets too large to be listed page by page.

Source:
    Amazon S3 User Guide, "Cataloging and analyzing your data with S3 Inventory": manifest.json names the
    report's files; keys in CSV are URL-encoded; a report of versions marks the latest and the deleted.
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from expllm.distributed import storage
from expllm.distributed.storage import StoredObject
from expllm.errors import CallerError, RunError

NAME = "manifest.json"
_CSV, _PARQUET = "CSV", "Parquet"
_KEYS = ("sourceBucket", "destinationBucket", "fileFormat", "fileSchema", "files")
_NEEDED = {"key": "Key", "size": "Size", "e_tag": "ETag"}
_LATEST, _DELETED = "is_latest", "is_delete_marker"


def listed(source: str) -> Iterator[StoredObject]:
    """Read the report whose manifest.json this is, one of its files at a time.

    An object that the report lists and that is gone or has changed since costs its own row later.

    Raises:
        CallerError: it is no such manifest, or its report lacks sizes or tags, or is ORC.
        RunError: a file of the report is missing or not what the manifest says.
    """
    manifest = _manifest(source)
    bucket = manifest["sourceBucket"]
    for file in manifest["files"]:
        for row in _rows(manifest, _file(source, manifest, file)):
            if row["is_there"]:
                yield StoredObject(f"s3://{bucket}/{row['key']}", row["e_tag"].strip('"'), int(row["size"]))


def _manifest(source: str) -> dict[str, Any]:
    try:
        manifest = json.loads(storage.read(source))
    except ValueError as error:
        raise CallerError(
            f"{source}: is no JSON; name the manifest.json of an S3 Inventory report"
        ) from error
    missing = [key for key in _KEYS if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise CallerError(
            f"{source}: has no {missing[0]!r}; name the manifest.json of an S3 Inventory report"
        )
    if manifest["fileFormat"] not in (_CSV, _PARQUET):
        raise CallerError(
            f"{source}: reports of the format {manifest['fileFormat']} are not read; ask for Parquet"
        )
    schema = manifest["fileSchema"]
    lacking = [csv for name, csv in _NEEDED.items() if name not in schema and csv not in schema]
    if lacking:
        raise CallerError(
            f"{source}: the report has no field {lacking[0]}; add it to the inventory's settings"
        )
    return manifest


def _file(source: str, manifest: Mapping[str, Any], file: Mapping[str, Any]) -> bytes:
    """One file of the report, checked; reports copied elsewhere lie below their manifest's own bucket."""
    bucket = manifest["destinationBucket"].rpartition(":")[2]
    data = storage.read(f"s3://{bucket}/{file['key']}")
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != file["MD5checksum"]:
        raise RunError(
            f"{source}: {file['key']} is not the file that the manifest names; ask for a new report"
        )
    return data


def _rows(manifest: Mapping[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
    if manifest["fileFormat"] == _CSV:
        yield from _csv_rows([name.strip() for name in manifest["fileSchema"].split(",")], data)
        return
    file = pq.ParquetFile(pa.BufferReader(data))
    names = [name for name in (*_NEEDED, _LATEST, _DELETED) if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=names):
        for row in batch.to_pylist():
            yield {**row, "is_there": row.get(_LATEST, True) and not row.get(_DELETED, False)}


def _csv_rows(fields: list[str], data: bytes) -> Iterator[dict[str, Any]]:
    lines = io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(data)), encoding="utf-8", newline="")
    for values in csv.reader(lines):
        row = dict(zip(fields, values, strict=True))
        is_there = row.get("IsLatest", "true") == "true" and row.get("IsDeleteMarker", "false") == "false"
        found = {name: row[field] for name, field in _NEEDED.items()}
        yield {**found, "key": unquote_plus(found["key"]), "is_there": is_there}
