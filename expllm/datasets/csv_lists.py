"""CSV lists of any length -> rows, some thousand at a time."""

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.csv

from expllm.datasets.labelled import Rejected
from expllm.errors import CallerError, Reject

_Row = TypeVar("_Row")

_BLOCK_BYTES = 1 << 23
"""Read at a time; no line may be longer."""


def header(path: Path) -> tuple[str, ...]:
    """The cells of the first line, stripped; none where the file is empty or is no text."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        try:
            return tuple(cell.strip() for cell in next(csv.reader(lines), ()))
        except csv.Error:
            return ()


def read(
    path: Path,
    columns: Sequence[str],
    to_row: Callable[..., _Row],
    *,
    names: Sequence[str] | None = None,
) -> Iterator[_Row | Rejected]:
    """Give each line's cells of some columns, as text, to a function that makes a row of them.

    A line of too many or too few cells is a rejected row; these come last. Bytes that are not UTF-8 become
    marks that no name and no number has.

    Args:
        names: The columns' names where the file has no header.

    Raises:
        CallerError: the file is no CSV.
    """
    wrong = 0

    def skip(_: pa.csv.InvalidRow) -> str:
        nonlocal wrong
        wrong += 1
        return "skip"

    for cells in _batches(path, columns, skip, names):
        yield from map(to_row, *cells)
    yield from repeat(Rejected(Reject.MALFORMED_ROW), wrong)


def _batches(
    path: Path,
    columns: Sequence[str],
    skip: Callable[[pa.csv.InvalidRow], str],
    names: Sequence[str] | None,
) -> Iterator[list[list[str]]]:
    held = names or header(path)
    try:
        with pa.csv.open_csv(
            path,
            read_options=pa.csv.ReadOptions(
                block_size=_BLOCK_BYTES, column_names=held, skip_rows=0 if names else 1, use_threads=False
            ),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(held, pa.binary())
            ),
        ) as batches:
            for batch in batches:
                yield [[cell.decode(errors="replace") for cell in c.to_pylist()] for c in batch.columns]
    except pa.ArrowInvalid as error:
        if str(error) != "Empty CSV file":
            reason = str(error).splitlines()[0].rstrip(".")
            raise CallerError(f"{path}: cannot be read as CSV: {reason}; mend the file") from error
