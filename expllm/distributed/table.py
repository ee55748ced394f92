"""OUTPUT/labels: the Delta table, and commits that land exactly once."""

import time
from collections.abc import Collection

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from expllm.distributed import storage
from expllm.errors import RunError
from expllm.tables import LABELS

KEYS = ("photo_uri", "photo_etag", "face_index", "model_id", "prompt_id", "detector", "outcome")
"""What the keys of a table hold: enough to tell what is done, by what, and how it ended."""
_APP = "expllm.label"
_ATTEMPTS = 4
# The log keeps the smallest and largest value of each column named here, for good: none that names a
# photograph or holds a text, so that forgetting a photograph leaves nothing of it there.
_STATISTICS = "face_index,outcome,reject_reason,expression,confidence,model_id,prompt_id,run_id"


def uri(output: str) -> str:
    """Where an output's table lies."""
    return storage.join(output, "labels")


def open_table(output: str) -> DeltaTable | None:
    """Open the table as it is now; None where there is none."""
    place = uri(output)
    try:
        return DeltaTable(place, storage_options=storage.delta_options(place))
    except TableNotFoundError:
        return None


def create(output: str) -> DeltaTable:
    """Open the table, or make an empty one."""
    place = uri(output)
    DeltaTable.create(
        place,
        schema=LABELS,
        mode="ignore",
        name="labels",
        configuration={"delta.dataSkippingStatsColumns": _STATISTICS},
        storage_options=storage.delta_options(place),
    )
    return DeltaTable(place, storage_options=storage.delta_options(place))


def keys(table: DeltaTable) -> pa.Table:
    """Who is in the table: the columns KEYS of every row."""
    found = pa.table(table.scan(columns=list(KEYS)))
    return found.cast(pa.schema([LABELS.field(name) for name in KEYS]))


class Committer:
    """Adds one run's shards to the table, each exactly once, and stops when another run adds its own.

    Every commit carries one application transaction whose version only this run knows. A commit that
    failed without a word is found by it and not repeated; a commit of another run since the table was
    opened is seen by it before anything is written, and refused by the log if it comes in between.
    """

    def __init__(self, output: str, table: DeltaTable) -> None:
        self._output = output
        self._version = table.transaction_version(_APP) or 0

    def commit(self, rows: pa.Table, *, replaced: Collection[str], metadata: dict[str, str]) -> None:
        """Add rows of schema LABELS; the old rows of the photographs `replaced` go in the same commit.

        Raises:
            RunError: another run has written to the table, or the store did not take the commit.
        """
        version = max(time.time_ns(), self._version + 1)
        for attempt in range(_ATTEMPTS):
            table = open_table(self._output)
            if table is None:
                raise RunError(f"{uri(self._output)}: the table was removed during the run; run again")
            landed = table.transaction_version(_APP) or 0
            if landed == version:
                break
            if landed != self._version:
                raise RunError(f"{self._output}: another run is adding labels; run again when it is done")
            try:
                _write(table, rows, replaced, version, metadata)
                break
            except (CommitFailedError, DeltaError, OSError) as error:
                if attempt == _ATTEMPTS - 1:
                    raise RunError(f"{uri(self._output)}: the commit failed: {_first_line(error)}") from error
                time.sleep(2**attempt)
        self._version = version


def _write(
    table: DeltaTable, rows: pa.Table, replaced: Collection[str], version: int, metadata: dict[str, str]
) -> None:
    properties = CommitProperties(app_transactions=[Transaction(_APP, version)], custom_metadata=metadata)
    if not replaced:
        write_deltalake(table, rows, mode="append", commit_properties=properties)
        return
    # An overwrite would do as well, but its condition, and with it every URI, stays in the log.
    merge = table.merge(
        _with_old(rows, replaced),
        predicate="new.is_old AND here.photo_uri = new.photo_uri",
        source_alias="new",
        target_alias="here",
        commit_properties=properties,
    )
    columns = {name: f"new.{name}" for name in LABELS.names}
    merge.when_matched_delete().when_not_matched_insert(columns, predicate="NOT new.is_old").execute()


def _with_old(rows: pa.Table, replaced: Collection[str]) -> pa.Table:
    """Put one row before the new ones for each photograph whose old rows are to go."""
    old = pa.Table.from_pylist([{"photo_uri": photo} for photo in sorted(replaced)], schema=LABELS)
    is_old = pa.array([True] * old.num_rows + [False] * rows.num_rows)
    return pa.concat_tables([old, rows]).append_column("is_old", is_old)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
