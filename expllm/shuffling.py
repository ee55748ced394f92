"""Parts of known length -> the order in which each of several workers reads their rows, pass after pass.

The order depends on the lengths, the seed, the worker and the number of workers alone, and any place in it
is found without reading what comes before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from jaxtyping import Int64

WINDOW = 4
"""Parts whose rows are mixed with one another; so many are in memory at a time."""


@dataclass(frozen=True)
class Piece:
    """Rows `start` up to `stop` of a part."""

    part: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Window:
    """Pieces that are read together and mixed."""

    pieces: tuple[Piece, ...]
    seed: tuple[int, ...]
    skipped: int = 0
    """Rows that are left out, the first of the mixed order."""

    def __len__(self) -> int:
        return sum(map(len, self.pieces)) - self.skipped

    @property
    def order(self) -> Int64[np.ndarray, " rows"]:
        """Places among the rows of all pieces, one piece after the other, in the order they are seen in."""
        return np.random.default_rng(self.seed).permutation(len(self) + self.skipped)[self.skipped :]


@dataclass(frozen=True)
class Deal:
    """One worker's share of the rows, in an endless stream of passes.

    In each pass the parts are shuffled anew and laid end to end; each worker has a stretch of that line, and
    the stretches differ by one row at most. So every row is seen once in a pass, by one worker: none is
    dropped and none comes twice. One pass runs on into the next, within a step too.
    """

    lengths: Sequence[int]
    """Rows of each part, at least as many in all as there are workers."""
    seed: int
    rank: int = 0
    world_size: int = 1

    @property
    def num_rows(self) -> int:
        """Rows of this worker in a pass."""
        start, stop = self._stretch()
        return stop - start

    def windows(self, epoch: int) -> Iterator[Window]:
        """What this worker reads in one pass."""
        pieces = self._pieces(epoch)
        for number in count():
            mixed = tuple(islice(pieces, WINDOW))
            if not mixed:
                return
            yield Window(mixed, (self.seed, epoch, self.rank, number))

    def between(self, start: int, stop: int) -> Iterator[Window]:
        """What holds the rows from place `start` of the stream up to `stop`; the last may hold more."""
        epoch, skipped = divmod(start, self.num_rows)
        left = stop - start
        for window in (window for number in count(epoch) for window in self.windows(number)):
            if left <= 0:
                return
            if skipped >= len(window):
                skipped -= len(window)
                continue
            rest = Window(window.pieces, window.seed, skipped)
            skipped, left = 0, left - len(rest)
            yield rest

    def _stretch(self) -> tuple[int, int]:
        total = sum(self.lengths)
        return total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size

    def _pieces(self, epoch: int) -> Iterator[Piece]:
        first, last = self._stretch()
        end = 0
        for part in np.random.default_rng((self.seed, epoch)).permutation(len(self.lengths)).tolist():
            begin, end = end, end + self.lengths[part]
            start, stop = max(first, begin), min(last, end)
            if start < stop:
                yield Piece(part, start - begin, stop - begin)
