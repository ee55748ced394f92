"""Counts of a running job -> a bar on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_PLAIN_EVERY_S = 10.0
_BAR_EVERY_S = 1.0
_MARKS = 64


@dataclass
class Counts:
    """How far a job is; its one writer is the loop that takes results."""

    total: int
    """Photographs the job has to do."""
    photographs: int = 0
    faces: int = 0
    rejected: int = 0
    started_s: float = field(default_factory=time.monotonic)
    marks: list[tuple[int, float]] = field(default_factory=list)
    """Photographs done and seconds gone, at about each 64th of the whole."""

    def count(self, photographs: int, faces: int) -> None:
        """Take how many are done by now."""
        self.photographs, self.faces = photographs, faces
        if (photographs - (self.marks[-1][0] if self.marks else 0)) * _MARKS >= self.total:
            self.marks.append((photographs, self.elapsed_s))

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def faces_per_s(self) -> float:
        return self.faces / max(self.elapsed_s, 1e-9)

    @property
    def line(self) -> str:
        """`12 of 40 photographs, 15 faces, 2.1 faces/s, 0:00:12 left, 1 rejected`."""
        left = "time left unknown"
        if self.photographs:
            seconds = self.elapsed_s / self.photographs * (self.total - self.photographs)
            left = f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02} left"
        done = f"{self.photographs} of {self.total} photographs, {self.faces} faces"
        return f"{done}, {self.faces_per_s:.1f} faces/s, {left}, {self.rejected} rejected"


@contextmanager
def shown(counts: Counts) -> Iterator[None]:
    """Show counts on stderr while the work goes on, also while nothing comes: a stuck run is seen."""
    console = Console(file=sys.stderr)
    done = threading.Event()
    show = _show_bar if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(counts, console, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show_bar(counts: Counts, console: Console, done: threading.Event) -> None:
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(counts.line, total=counts.total)
        while not done.wait(_BAR_EVERY_S):
            bar.update(task, completed=counts.photographs, description=counts.line)


def _show_lines(counts: Counts, console: Console, done: threading.Event) -> None:
    while not done.wait(_PLAIN_EVERY_S):
        console.print(counts.line, highlight=False, soft_wrap=True)
