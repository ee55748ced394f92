"""OUTPUT/instructions: the Parquet files of instruction rows, written whole one after the other."""

import io
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from expllm.distributed import storage
from expllm.errors import CallerError
from expllm.exp_cot.instructions import Row
from expllm.tables import INSTRUCTIONS

FOLDER = "instructions"
_PART_ROWS = 512


class Parts:
    """Gathers rows and writes them in parts; what it holds when an error leaves it is written too."""

    def __init__(self, output: str, run_id: str) -> None:
        self._folder, self._run_id = storage.join(output, FOLDER), run_id
        self._held: list[Row] = []
        self._number = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows, and write a part where there are enough of them."""
        self._held += rows
        if len(self._held) >= _PART_ROWS:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            self._write()

    def _write(self) -> None:
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._held, schema=INSTRUCTIONS), data, compression="zstd")
        name = f"part-{self._run_id}-{self._number:05}.parquet"
        storage.write(storage.join(self._folder, name), data.getvalue())
        self._held, self._number = [], self._number + 1


def read(output: str) -> pa.Table:
    """All rows, the last of each face; without any an empty table.

    Raises:
        CallerError: a file there is none of ours.
    """
    found = [o.uri for o in storage.children(storage.join(output, FOLDER)) if o.uri.endswith(".parquet")]
    table = pa.concat_tables([INSTRUCTIONS.empty_table(), *map(_part, sorted(found))])
    last = {key: place for place, key in enumerate(table["face_key"].to_pylist())}
    return table.take(pa.array(sorted(last.values()), pa.int64()))


def _part(uri: str) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(storage.read(uri))).select(INSTRUCTIONS.names).cast(INSTRUCTIONS)
    except (pa.ArrowException, KeyError) as error:
        raise CallerError(f"{uri}: is no part of instruction data; move it elsewhere") from error
