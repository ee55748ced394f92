"""Writes pairs of pictures that differ in one facial movement, and pairs.parquet, the truth about them."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from typer import Option

from expllm.cli import run_command
from expllm.rendering import pairs
from expllm.tables import PAIRS
from jobs.faces import JPEG_QUALITY, begun, in_processes

TABLE = "pairs.parquet"


def main(
    out: Annotated[Path, Option(help="Folder to write to; it is made.")],
    count: Annotated[int, Option(min=1, help="Number of pairs.")],
    seed: Annotated[int, Option(min=0, help="The first person; the same seed gives the same pairs.")] = 0,
    size_px: Annotated[int, Option(min=32, max=2048, help="Width and height of a picture.")] = 224,
    processes: Annotated[int, Option(min=1, help="Pairs rendered at a time.")] = 1,
) -> None:
    """Render COUNT pairs: pair i shows person seed + i without and with one movement."""
    unfinished = begun(out, TABLE)
    tasks = [(out, seed + index, index, size_px) for index in range(count)]
    rows = [row for pair in in_processes(_pair, tasks, processes) for row in pair]
    pq.write_table(pa.Table.from_pylist(rows, schema=PAIRS), unfinished)
    unfinished.replace(out / TABLE)
    print(f"{count} pairs in {out / TABLE}")


def _pair(task: tuple[Path, int, int, int]) -> list[dict[str, Any]]:
    out, seed, index, size_px = task
    pair = pairs.draw(seed, size_px)
    for is_present, (rendered, _) in ((False, pair.absent), (True, pair.present)):
        file = out / pairs.file_name(index, is_present)
        Image.fromarray(rendered.pixels).save(file, quality=JPEG_QUALITY)
    return pairs.rows(pair, index)


if __name__ == "__main__":
    run_command(main)
