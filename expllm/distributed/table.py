"""OUTPUT/labels: the Delta table, and commits that land exactly once."""

import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from expllm.distributed import storage
from expllm.distributed.delta_options import delta_options
from expllm.errors import RunError
from expllm.tables import LABELS

KEYS = (
    *("photo_uri", "photo_etag", "face_index", "num_faces"),
    *("model_id", "prompt_id", "detector"),
    *("outcome", "reject_reason", "attempts"),
)
"""What the keys of a table hold: enough to tell what is done, by what, and how it ended."""
_TROUBLE = (DeltaError, OSError, pa.ArrowException)
"""What delta-rs raises where the store or the table's files are at fault."""
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
    with _naming(uri(output)):
        return _open(output)


def _open(output: str) -> DeltaTable | None:
    place = uri(output)
    try:
        return DeltaTable(place, storage_options=delta_options(place))
    except TableNotFoundError:
        return None


def create(output: str) -> DeltaTable:
    """Open the table, or make an empty one; one from before the newest columns gets them."""
    place = uri(output)
    options = delta_options(place)
    with _naming(place):
        DeltaTable.create(
            place,
            schema=LABELS,
            mode="ignore",
            name="labels",
            configuration={"delta.dataSkippingStatsColumns": _STATISTICS},
            storage_options=options,
        )
        table = DeltaTable(place, storage_options=options)
        new = [LABELS.field(name) for name in LABELS.names if name not in _columns(table)]
        if new:
            table.alter.add_columns(Schema.from_arrow(pa.schema(new)).fields)
        return table


def scan(table: DeltaTable, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.Table]:
    """Stream some columns of the table as LABELS has them; those it does not have yet are null."""
    schema = pa.schema([LABELS.field(name) for name in columns])
    held = [name for name in columns if name in _columns(table)]
    with _naming(table.table_uri):
        for batch in pa.RecordBatchReader.from_stream(table.scan(columns=held, predicate=predicate)):
            found = pa.table(batch)  # delta-rs reads strings as views
            missing = {name: pa.nulls(found.num_rows) for name in columns if name not in held}
            together = {**{name: found[name] for name in held}, **missing}
            yield pa.table({name: together[name] for name in columns}).cast(schema)


def keys(table: DeltaTable | None) -> pa.Table:
    """Who is in the table: the columns KEYS of every row; none where there is no table."""
    empty = pa.schema([LABELS.field(name) for name in KEYS]).empty_table()
    return pa.concat_tables([empty, *(scan(table, KEYS) if table else ())])


def erase(output: str, photographs: Collection[str]) -> dict[str, int]:
    """Remove photographs' rows for good, and tell how many each had; files without them stay as they are.

    All older versions go with them, and every file that no version names: a killed run may have left rows in
    one. A run that is going on finds the table changed at its next commit and stops.

    Raises:
        RunError: the table cannot be read, or the store did not take the commit.
    """
    with _naming(uri(output)):
        table = _open(output)
        if table is None:
            return {}
        found = _counted(table, photographs)
        if found:
            gone = pa.table({"photo_uri": pa.array(sorted(found), pa.string())})
            version = max(time.time_ns(), (table.transaction_version(_APP) or 0) + 1)
            # As in _write: a condition would stay in the log, with every URI.
            table.merge(
                gone,
                predicate="here.photo_uri = gone.photo_uri",
                source_alias="gone",
                target_alias="here",
                commit_properties=CommitProperties(app_transactions=[Transaction(_APP, version)]),
            ).when_matched_delete().execute()
            table.update_incremental()
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
        return found


def _counted(table: DeltaTable, photographs: Collection[str]) -> dict[str, int]:
    uris, found = pa.array(sorted(photographs), pa.string()), Counter[str]()
    for part in scan(table, ["photo_uri"]):
        found.update(part["photo_uri"].filter(pc.is_in(part["photo_uri"], value_set=uris)).to_pylist())
    return dict(found)


def _columns(table: DeltaTable) -> set[str]:
    return {field.name for field in table.schema().fields}


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
            try:
                self._commit_once(rows, replaced, version, metadata)
                break
            except _TROUBLE as error:
                if attempt == _ATTEMPTS - 1:
                    raise RunError(f"{uri(self._output)}: the commit failed: {_one_line(error)}") from error
                time.sleep(2**attempt)
        self._version = version

    def _commit_once(
        self, rows: pa.Table, replaced: Collection[str], version: int, metadata: dict[str, str]
    ) -> None:
        table = _open(self._output)
        if table is None:
            raise RunError(f"{uri(self._output)}: the table was removed during the run; run again")
        landed = table.transaction_version(_APP) or 0
        if landed not in (self._version, version):
            raise RunError(f"{self._output}: another run is adding labels; run again when it is done")
        if landed != version:
            _write(table, rows, replaced, version, metadata)


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


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Turn delta-rs' errors into one line that names the table."""
    try:
        yield
    except _TROUBLE as error:
        raise RunError(f"{place}: the table cannot be read: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """The first line of a message, with the causes that delta-rs draws below it as a tree of arrows."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    return re.sub(r"\s*\n\s*↳\s*", ": ", text).split("\n")[0] or type(error).__name__
