"""Prepared examples -> one worker's stream of them, read ahead by Ray Data; it begins at any place."""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from jaxtyping import Int64
from ray.data import DataContext, ExecutionOptions, ExecutionResources

from expllm.distributed import storage
from expllm.distributed.examples import Examples
from expllm.distributed.make_examples import Part
from expllm.models.training_faces import TrainingFaces
from expllm.shuffling import Deal, Piece, Window

READ_CPUS = 0.5
"""What a reading task takes; a worker has two at a time."""
_AHEAD_BYTES = 512 * 1024**2
"""Rows that are read ahead for each worker, at most, or one window."""


class ExampleStream:
    """The examples of one worker, from the place that is asked for first to `stop`; see shuffling.Deal."""

    num_examples = None

    def __init__(self, examples: Examples, deal: Deal, stop: int) -> None:
        self._examples, self._deal, self._stop = examples, deal, stop
        self._next: int | None = None
        self._batches: Iterator[pa.Table] = iter(())

    def take(self, indices: Int64[np.ndarray, " some"]) -> TrainingFaces:
        """The faces at these places, which follow one another: always as many, each time the next ones."""
        start, count = int(indices[0]), len(indices)
        if start != self._next:
            self._batches = self._read(start, count)
        self._next = start + count
        return TrainingFaces.of(next(self._batches))

    def _read(self, start: int, count: int) -> Iterator[pa.Table]:
        windows = list(self._deal.between(start, self._stop))
        folder = self._examples.folder

        def read(listed: pa.Table) -> pa.Table:
            return pa.concat_tables(rows(folder, windows[place]) for place in listed["place"].to_pylist())

        _set_context()
        listed = ray.data.from_arrow([pa.table({"place": [place]}) for place in range(len(windows))])
        read_ahead = listed.map_batches(read, batch_size=None, batch_format="pyarrow", num_cpus=READ_CPUS)
        return iter(read_ahead.iter_batches(batch_size=count, batch_format="pyarrow"))


def first(examples: Examples, most: int) -> TrainingFaces:
    """The first examples of the first part that has any; at least one, and at most `most`."""
    part = next(place for place, length in enumerate(examples.lengths) if length)
    return TrainingFaces.of(_piece(examples.folder, Piece(part, 0, max(1, most))))


def rows(folder: str, window: Window) -> pa.Table:
    """The rows of a window in the order they are seen in."""
    return pa.concat_tables([_piece(folder, piece) for piece in window.pieces]).take(pa.array(window.order))


def _piece(folder: str, piece: Piece) -> pa.Table:
    table = pq.read_table(io.BytesIO(storage.read(Part(folder, piece.part).rows_uri)))
    return table.slice(piece.start, len(piece))


def _set_context() -> None:
    """Have Ray Data keep the order, read a little ahead, and leave the telling of progress to the job."""
    context = DataContext.get_current()
    context.execution_options = ExecutionOptions(
        preserve_order=True,
        resource_limits=ExecutionResources(cpu=2 * READ_CPUS, object_store_memory=_AHEAD_BYTES),
    )
    context.enable_progress_bars = False
    context.print_on_execution_start = False
