"""Writes pictures of rendered people whose expressions are faint, and faces.parquet, the truth about them.

python -m benchmarks.faint --out DIR --people 25 [--seed 700000]
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from typer import Option

from expllm.cli import run_command
from expllm.expressions import EXPRESSIONS, Expression
from expllm.rendering import expressions
from expllm.rendering.expressions import Prototype
from expllm.tables import FACES
from jobs.faces import rendered_row

PEAK = 0.2
"""What the strongest movement of such a face is made to be."""
_SIZE_PX = 224


def main(
    out: Annotated[Path, Option(help="Folder to write to; it is made.")],
    people: Annotated[int, Option(min=1, help="People, with every expression but neutral.")],
    seed: Annotated[int, Option(min=0, help="The first person.")] = 700_000,
) -> None:
    """Render PEOPLE with each expression at a peak of .2."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [
        _row(out, person, expression)
        for person in range(seed, seed + people)
        for expression in EXPRESSIONS
        if expression is not Expression.NEUTRAL
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=FACES), out / "faces.parquet")


def weakened(prototype: Prototype) -> Prototype:
    """The same movements in the same proportions, the strongest of those aimed at being PEAK."""
    scale = PEAK / prototype.peak
    weaker = {unit: value * scale for unit, value in prototype.action_units.items()}
    return replace(prototype, action_units=weaker, peak=PEAK)


def _row(out: Path, seed: int, expression: Expression) -> dict[str, Any]:
    prototype = weakened(expressions.sample(expression, seed))
    return rendered_row(out / f"person_{seed:06d}_faint_{expression}.jpg", seed, prototype, _SIZE_PX)


if __name__ == "__main__":
    run_command(main)
