"""Whether answers come from the picture or from the hints: asked with hints and pictures that do not fit.

python -m benchmarks.controls [--people 12] [--out out/controls]
"""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.console import Console
from rich.table import Table
from typer import Option

from benchmarks import detection, pictures
from benchmarks.control_measures import (
    MOST_REPEATED,
    Asked,
    Controls,
    false_movement,
    measure,
    other_face,
    read,
    with_movement,
)
from benchmarks.detection import Seen
from benchmarks.pictures import Picture
from benchmarks.quality import share
from benchmarks.throughput import ask
from expllm.cli import run_command
from expllm.config import LabelConfig
from expllm.distributed import cluster
from expllm.expressions import EXPRESSIONS
from expllm.facs import Intensities
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder

FIRST_PERSON = 650_000


def main(
    people: Annotated[int, Option(min=2, help="People to render, with eight expressions each.")] = 12,
    out: Annotated[Path, Option(help="Folder for pictures and controls.json.")] = Path("out/controls"),
    model: Annotated[str, Option(help="The model to ask.")] = "expllm-135m",
) -> None:
    """Ask about the same faces with true hints, a blank picture, a false hint, and another face's hints."""
    options = ["--count", str(people * len(EXPRESSIONS)), "--seed", str(FIRST_PERSON), "--processes", "2"]
    rendered = pictures.rendered(out / f"faces-{people}", *options)
    found = zip(rendered, detection.see((picture.file for picture in rendered), model), strict=True)
    cases = [(picture, seen) for picture, seen in found if seen is not None]
    result = measure(_asked(cases, model))
    (out / "controls.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
    Console().print(as_table(result))


def _asked(cases: Sequence[tuple[Picture, Seen]], model: str) -> list[Asked]:
    """Ask four times about each face."""
    shown = [picture for picture, _ in cases]
    hints = [seen.action_units for _, seen in cases]
    others = [other_face(shown, index) for index in range(len(shown))]
    false = [false_movement(picture.action_units, index) for index, picture in enumerate(shown)]
    blank = _blank(model)
    prompts: list[tuple[np.ndarray, Intensities]] = []
    for (_, seen), measured, number, other in zip(cases, hints, false, others, strict=True):
        misled = measured if number is None else with_movement(measured, number)
        own = seen.features
        prompts += [(own, measured), (blank, measured), (own, misled), (own, hints[other])]
    os.environ |= cluster.engine_environment(LabelConfig())
    answers, _ = asyncio.run(ask(prompts, model))
    texts = [[read(answer) for answer in answers[i : i + 4]] for i in range(0, len(answers), 4)]
    return [
        Asked(picture, measured, number, shown[other], *four)
        for picture, measured, number, other, four in zip(shown, hints, false, others, texts, strict=True)
    ]


def _blank(model: str) -> np.ndarray:
    """Features of a grey crop."""
    checkpoint = resolve(model)
    grey = 255 * np.mean(checkpoint.preprocessing.mean)
    encoder = Encoder(checkpoint)
    (blank,) = encoder.encode(np.full((1, encoder.crop_px, encoder.crop_px, 3), grey, np.uint8))
    return blank


def as_table(result: Controls) -> Table:
    """One row a figure."""
    printed = Table(title=f"Picture or hints: {result.faces} rendered faces")
    printed.add_column("")
    printed.add_column("share", justify="right")
    for field in fields(Controls)[1:]:
        most = f" (at most {share(MOST_REPEATED)})" if field.name == "false_hint_repeated" else ""
        printed.add_row(field.name.replace("_", " ") + most, share(getattr(result, field.name)))
    return printed


if __name__ == "__main__":
    run_command(main)
