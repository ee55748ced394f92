"""CSV, Parquet and JSONL lists of pictures -> labelled faces: also what `expllm faces` renders."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expllm.datasets import csv_lists, fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Rejected, Row
from expllm.errors import CallerError, Reject
from expllm.facs import COLUMNS

NEEDED = ("file", "expression")
RENDERED = "faces.parquet"
_NAMES = ("labels.csv", "labels.parquet", "labels.jsonl")
_FIRST = 100
"""Lines of JSONL that tell what it is; some of them may be bad."""
_GROUPS = ("skin", "age", "sex")
_READ = frozenset(
    (*NEEDED, *COLUMNS, *_GROUPS, "person", "split", "box", "box_px", "action_units", "peak", "description")
)


def list_of(path: Path) -> Path | None:
    """The list that a path names: itself, or the one in the folder; None where it is none."""
    candidates = [path / name for name in _NAMES] if path.is_dir() else [path]
    return next((found for found in candidates if found.is_file() and _is_list(found)), None)


def rendered(path: Path) -> Path | None:
    """The truth about rendered faces that a path names, or None."""
    found = path / RENDERED if path.is_dir() else path
    return found if found.name == RENDERED and found.is_file() else None


def columns(path: Path) -> tuple[str, ...]:
    """The columns of a list; of JSONL the keys of its first lines.

    Raises:
        CallerError: a Parquet file is none.
    """
    match path.suffix.lower():
        case ".csv":
            return csv_lists.header(path)
        case ".parquet":
            return tuple(_parquet(path).schema_arrow.names)
        case ".jsonl":
            with path.open(encoding="utf-8", errors="replace") as lines:
                return tuple(dict.fromkeys(key for line in islice(lines, _FIRST) for key in _object(line)))
    return ()


def read(path: Path) -> Iterator[Row]:
    """Read a list; relative names count from its folder.

    Raises:
        CallerError: it is not what its suffix says, or lacks a column.
    """
    held = columns(path)
    missing = [column for column in NEEDED if column not in held]
    if missing:
        raise CallerError(f"{path}: has no column {missing[0]!r}; a list needs {' and '.join(NEEDED)}")
    to_row = partial(_row, Files(path.parent))
    match path.suffix.lower():
        case ".csv":
            wanted = [column for column in held if column in _READ]
            return csv_lists.read(path, wanted, lambda *cells: to_row(dict(zip(wanted, cells, strict=True))))
        case ".parquet":
            return map(to_row, _parquet_rows(path, [column for column in held if column in _READ]))
    return _jsonl_rows(path, to_row)


def _is_list(path: Path) -> bool:
    return set(NEEDED) <= set(columns(path))


def _row(files: Files, row: Mapping[str, Any]) -> Row:
    box = row.get("box_px")
    units = row.get("action_units")
    groups = {name: value for name in _GROUPS if (value := fields.text(row.get(name)))}
    return fields.assemble(
        split=fields.split(row.get("split")),
        expression=fields.worded(row["expression"]),
        photo=files.find(row["file"]),
        box_px=fields.box_px(row.get("box") if box is None else box),
        action_units=fields.action_units(row if units in (None, "") else units),
        person=fields.text(row.get("person")),
        peak=fields.share(row.get("peak")),
        description=fields.text(row.get("description")),
        groups=groups,
    )


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise CallerError(f"{path}: is no Parquet file; write it again") from error


def _parquet_rows(path: Path, wanted: list[str]) -> Iterator[Mapping[str, Any]]:
    with _parquet(path) as file:
        try:
            for batch in file.iter_batches(columns=wanted):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise CallerError(f"{path}: is a damaged Parquet file; write it again") from error


def _jsonl_rows(path: Path, to_row: Any) -> Iterator[Row]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in filter(str.strip, lines):
            row = _object(line)
            yield to_row(row) if set(NEEDED) <= row.keys() else Rejected(Reject.MALFORMED_ROW)


def _object(line: str) -> dict[str, Any]:
    """The JSON object of a line; an empty one where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # the second: brackets without end
        return {}
    return found if isinstance(found, dict) else {}
