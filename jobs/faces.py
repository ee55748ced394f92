"""Writes pictures of rendered people and faces.parquet, the truth about every face in them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from PIL import Image

from expllm.cli import run_command
from expllm.errors import CallerError, RunError
from expllm.expressions import EXPRESSIONS
from expllm.rendering import expressions
from expllm.rendering.person import Person
from expllm.rendering.render import render_face, table_row
from expllm.rendering.scene import Scene
from expllm.tables import FACES

JPEG_QUALITY = 92
_TABLE_NAME = "faces.parquet"
_CHUNK = 8
"""Pictures a process renders in one go: all expressions of one person, whose shape it keeps."""


def main(
    out: Annotated[Path, typer.Option(help="Folder to write to; it is made.")],
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")],
    seed: Annotated[
        int, typer.Option(min=0, help="The first person; the same seed gives the same pictures.")
    ] = 0,
    size_px: Annotated[int, typer.Option(min=32, max=2048, help="Width and height of a picture.")] = 224,
    processes: Annotated[int, typer.Option(min=1, help="Pictures rendered at a time.")] = 1,
    peaks: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Least and greatest strength of an expression's strongest movement, 0..1."),
    ] = None,
) -> None:
    """Render COUNT faces: picture i shows person seed + i // 8 with expression i % 8."""
    _check_peaks(peaks)
    unfinished = begun(out, _TABLE_NAME)
    chunks = [
        (out, seed, range(start, min(start + _CHUNK, count)), size_px, peaks)
        for start in range(0, count, _CHUNK)
    ]
    rows = list(chain.from_iterable(_shown(in_processes(_chunk, chunks, processes), count)))
    pq.write_table(pa.Table.from_pylist(rows, schema=FACES), unfinished)
    unfinished.replace(out / _TABLE_NAME)
    print(f"{len(rows)} faces in {out / _TABLE_NAME}")


def _check_peaks(peaks: tuple[float, float] | None) -> None:
    if peaks is not None and not 0 < peaks[0] <= peaks[1] <= 1:
        raise CallerError("--peaks takes two numbers above 0 and up to 1, the smaller one first")


def begun(out: Path, table: str) -> Path:
    """Make the folder, and in it the file of the coming table: who cannot write learns it before the work."""
    unfinished = out / f".{table}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CallerError(f"cannot write to {out} ({reason}); name a folder that can be written") from error
    return unfinished


def in_processes(
    work: Callable[[Any], list[dict[str, Any]]], tasks: Sequence[Any], processes: int
) -> Iterator[list[dict[str, Any]]]:
    """Do one task after another, in order, in this process or in several; the rows of each."""
    if processes == 1:
        yield from map(work, tasks)
        return
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            yield from pool.map(work, tasks)
    except BrokenProcessPool as error:
        raise RunError("a rendering process died, perhaps for want of memory; use fewer processes") from error


def _chunk(task: tuple[Path, int, range, int, tuple[float, float] | None]) -> list[dict[str, Any]]:
    out, seed, pictures, size_px, peaks = task
    return [
        _picture(out, seed + i // len(EXPRESSIONS), i % len(EXPRESSIONS), size_px, peaks) for i in pictures
    ]


def _picture(
    out: Path, seed: int, number: int, size_px: int, peaks: tuple[float, float] | None
) -> dict[str, Any]:
    """Render and store one picture; its row of the table."""
    prototype = expressions.sample(EXPRESSIONS[number], seed)
    if peaks is not None:
        peak = np.random.default_rng([seed, number, 11]).uniform(*peaks)
        prototype = expressions.at_peak(prototype, peak)
    person = Person.sample(seed)
    scene = Scene.sample(seed * len(EXPRESSIONS) + number)
    rendered = render_face(person, prototype.action_units, scene, size_px)
    file = f"person_{seed:06d}_{prototype.expression}.jpg"
    Image.fromarray(rendered.pixels).save(out / file, quality=JPEG_QUALITY)
    return table_row(file, 0, person, prototype, rendered.truth)


def _shown(batches: Iterator[list[dict[str, Any]]], count: int) -> Iterator[list[dict[str, Any]]]:
    """Say after every thousand pictures how far the rendering is."""
    done = 0
    for batch in batches:
        if done // 1000 != (done + len(batch)) // 1000:
            print(f"{done + len(batch)} of {count} rendered", flush=True)
        done += len(batch)
        yield batch


if __name__ == "__main__":
    run_command(main)
