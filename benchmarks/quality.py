"""How good labels and texts are on rendered people never seen in training, with and without hints.

python -m benchmarks.quality [--people 25] [--out out/quality]
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from typer import Option

from expllm import cot, metrics
from expllm.cli import run_command
from expllm.config import LabelConfig
from expllm.distributed import label, table
from expllm.expressions import EXPRESSIONS, Expression
from jobs import faces

FIRST_PERSON = 500_000
"""People are numbered; those in training have lower numbers."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Quality:
    """The figures of one run over faces whose truth is known; shares are 0..1."""

    faces: int
    accuracy: float | None
    balanced_accuracy: float | None
    lowest_recall_of_an_expression: float | None
    parsed: float
    named_movements_that_are_there: float | None
    movements_there_that_are_named: float | None
    strength_within_a_band: float | None
    calibration_error: float | None
    label_only_answer_agrees: float | None
    generated_tokens: float | None


def main(
    people: Annotated[int, Option(min=1, help="People to render, with eight expressions each.")] = 25,
    out: Annotated[Path, Option(help="Folder for pictures, tables and quality.json.")] = Path("out/quality"),
    model: Annotated[str, Option(help="The model to measure.")] = "expllm-135m",
) -> None:
    """Render people, label them with and without hints, and compare with the truth."""
    photographs = out / f"faces-{people}"
    if not (photographs / "faces.parquet").exists():
        faces.main(photographs, people * len(EXPRESSIONS), seed=FIRST_PERSON, processes=2)
    truth = pq.read_table(photographs / "faces.parquet").to_pylist()
    results = {}
    for name, hints in (("with hints", True), ("without hints", False)):
        output = str(out / f"{model.replace('/', '-')}-{people}-{name.replace(' ', '-')}")
        label.run(str(photographs), output, LabelConfig(model=model, hints=hints), relabel=True)
        results[name] = measure(truth, table.open_table(output).to_pyarrow_table())
    (out / "quality.json").write_text(json.dumps({name: asdict(q) for name, q in results.items()}, indent=2))
    _print(results)


def measure(truth: list[Row], labels: pa.Table) -> Quality:
    """Compare labels with the truth, one face a picture; a face without a label counts as wrong."""
    rows = {Path(row["photo_uri"]).name: row for row in labels.to_pylist() if row["face_index"] in (0, None)}
    pairs = [(face, rows[face["file"]]) for face in truth]
    labelled = [(face, row) for face, row in pairs if row["outcome"] == "labelled"]
    true = [Expression(face["expression"]) for face, _ in pairs]
    given = [row["expression"] and Expression(row["expression"]) for _, row in pairs]
    texts = [_text_against_truth(face, row) for face, row in labelled]
    return Quality(
        faces=len(pairs),
        accuracy=metrics.accuracy(true, given),
        balanced_accuracy=metrics.balanced_accuracy(true, given),
        lowest_recall_of_an_expression=min(r for r in metrics.recalls(true, given).values() if r is not None),
        parsed=len(labelled) / len(pairs),
        named_movements_that_are_there=_mean(agreement.precision for agreement, _ in texts),
        movements_there_that_are_named=_mean(agreement.recall for agreement, _ in texts),
        strength_within_a_band=_mean(strength for _, strength in texts),
        calibration_error=metrics.calibration_error(
            np.array([row["confidence"] for _, row in labelled]),
            [face["expression"] == row["expression"] for face, row in labelled],
        ),
        label_only_answer_agrees=_mean(row["label_only_agrees"] for _, row in labelled),
        generated_tokens=_mean(row["generated_tokens"] for _, row in labelled),
    )


def _text_against_truth(face: Row, row: Row) -> tuple[cot.Agreement, float | None]:
    named = cot.observations(row["key_observations"])
    return cot.agreement(named, face["action_units"]), cot.strength_agreement(named, face["action_units"])


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _print(results: dict[str, Quality]) -> None:
    printed = Table(title="Rendered people never seen in training")
    printed.add_column("")
    for name in results:
        printed.add_column(name, justify="right")
    for field in fields(Quality):
        values = (getattr(quality, field.name) for quality in results.values())
        printed.add_row(field.name.replace("_", " "), *(_shown(value) for value in values))
    Console().print(printed)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run_command(main)
