"""How much of the bare engine's speed the whole label job keeps, on the same faces in the same run.

python -m benchmarks.throughput [--faces 200] [--out out/throughput]
"""

import asyncio
import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.console import Console
from rich.table import Table
from typer import Option

from benchmarks import pictures
from expllm.cli import run_command
from expllm.config import LabelConfig
from expllm.distributed import cluster, label
from expllm.errors import Reject, RunError
from expllm.facs import Intensities
from expllm.labels import Answer
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from expllm.models.engine import Engine
from expllm.models.face_reader import FaceReader

FIRST_PERSON = 600_000
_IN_FLIGHT = 64
_FEW = 8
"""Faces of a run that shows what starting costs."""


@dataclass(frozen=True)
class Throughput:
    """Rates in faces a second; what starts up is told apart."""

    faces: int
    engine_faces_per_s: float
    job_faces_per_s: float
    """Faces beyond the first few over the seconds they add: what a long run keeps up."""
    job_share_of_engine: float
    job_start_s: float
    """What a run takes before its rate counts: the job's processes, the model, vLLM's start."""
    longest_answer_tokens: int
    mean_answer_tokens: float
    machine: str


def main(
    faces: Annotated[int, Option(min=8, help="Faces to label.")] = 200,
    out: Annotated[Path, Option(help="Folder for pictures, tables and throughput.json.")] = Path(
        "out/throughput"
    ),
    model: Annotated[str, Option(help="The model to measure.")] = "expllm-135m",
) -> None:
    """Label the same faces by the engine alone and by the whole job, and print both rates."""
    photographs = out / f"faces-{faces}"
    options = ["--count", str(faces), "--seed", str(FIRST_PERSON), "--processes", "2"]
    pictures.rendered(photographs, *options)
    os.environ |= cluster.engine_environment(LabelConfig())  # the bare engine is told what the job's is
    prompts = read(sorted(photographs.glob("*.jpg")), model)
    answers, engine_s = asyncio.run(ask(prompts, model))
    with cluster.connected():  # one Ray, warmed by a first run: else starting blurs the difference
        limits = (_FEW, _FEW, None)
        _, few, all_ = (_job(photographs, out, LabelConfig(model=model, limit=limit)) for limit in limits)
    lengths = [answer.generated_tokens for answer in answers]
    engine_rate = len(prompts) / engine_s
    job_rate = (all_.faces - few.faces) / (all_.elapsed_s - few.elapsed_s)
    result = Throughput(
        faces=len(prompts),
        engine_faces_per_s=engine_rate,
        job_faces_per_s=job_rate,
        job_share_of_engine=job_rate / engine_rate,
        job_start_s=all_.elapsed_s - all_.faces / job_rate,
        longest_answer_tokens=max(lengths),
        mean_answer_tokens=float(np.mean(lengths)),
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    )
    (out / "throughput.json").write_text(json.dumps(asdict(result), indent=2))
    _print(result)


def _job(photographs: Path, out: Path, config: LabelConfig) -> label.Summary:
    shutil.rmtree(out / "labels", ignore_errors=True)
    return label.run(str(photographs), str(out / "labels"), config)


def read(files: list[Path], model: str) -> list[tuple[np.ndarray, Intensities]]:
    """What the engine is asked about each face: features and measured movements, held in memory."""
    checkpoint = resolve(model)
    found = FaceReader(20, checkpoint.preprocessing.cut).read([file.read_bytes() for file in files])
    if any(isinstance(one, Reject) for one in found):
        raise RunError("a rendered face could not be read")
    each = [face for one in found if not isinstance(one, Reject) for face in one]
    features = Encoder(checkpoint).encode(np.stack([face.crop for face in each]))
    return [(one, face.columns["action_units"]) for one, face in zip(features, each, strict=True)]


async def ask(prompts: list[tuple[np.ndarray, Intensities]], model: str) -> tuple[list[Answer], float]:
    """Answer both questions about every face with the bare engine; the answers, and seconds without start."""
    engine = Engine(resolve(model))
    in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def one(features: np.ndarray, hints: Intensities) -> Answer:
        async with in_flight:
            return await engine.explain(features, hints)

    await one(*prompts[0])
    start_s = time.monotonic()
    answers = await asyncio.gather(*(one(*asked) for asked in prompts))
    elapsed_s = time.monotonic() - start_s
    engine.shutdown()
    return answers, elapsed_s


def _print(result: Throughput) -> None:
    printed = Table(title="The whole job against the bare engine")
    printed.add_column("")
    printed.add_column("", justify="right")
    for name, value in asdict(result).items():
        printed.add_row(name.replace("_", " "), f"{value:.2f}" if isinstance(value, float) else str(value))
    Console().print(printed)


if __name__ == "__main__":
    run_command(main)
