"""Trains the default model from rendered faces, stage by stage: prepare, encoder, finetune, bundle."""

import json
import sys
import time
from functools import partial
from pathlib import Path

import torch
import typer

from expllm import action_units
from expllm.cli import run_program
from expllm.models import (
    base,
    bundling,
    dataset,
    encoder_training,
    finetuning,
    fit_unit_reader,
    training,
    training_checkpoints,
)
from expllm.models.checkpoint import ACTION_UNITS
from expllm.models.encoder_training import SupervisedEncoder
from expllm.models.explainer import Explainer, lora_config
from expllm.models.tower import started_tower
from expllm.unit_reader import UnitReader

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def prepare(sources: list[Path], prepared: Path) -> None:
    """Find and crop the faces of the folders SOURCES once."""
    start_s = time.monotonic()

    def progress(done: int, total: int) -> None:
        if done % 200 == 0 or done == total:
            print(f"{done}/{total} pictures, {done / (time.monotonic() - start_s):.0f}/s", flush=True)

    print(f"{dataset.prepare(sources, prepared, progress)} faces in {prepared}")


@app.command()
def encoder(
    prepared: Path,
    out: Path,
    limit_s: float,
    epochs: int = 40,
    batch_size: int = 96,
    learning_rate: float = 2e-3,
    start: Path | None = None,
) -> None:
    """Train the encoder on prepared faces for at most LIMIT_S seconds, from what another training left."""
    torch.manual_seed(0)
    trained, held_out = dataset.load(prepared, action_units.Estimator.load()).split()
    reader = encoder_training.trained_reader(start) if start else SupervisedEncoder(started_tower())
    trained = trained.as_in_photographs()
    schedule = training.Schedule(
        epochs * len(trained) // batch_size, batch_size, warmup_steps=50, limit_s=limit_s
    )
    training.train(encoder_training.EncoderTask(trained, reader, learning_rate), schedule, out, _report)
    fit_unit_reader.fit(reader.tower, held_out).save(out / ACTION_UNITS)
    print(json.dumps(encoder_training.evaluate(reader, held_out)))


@app.command()
def finetune(
    prepared: Path,
    encoder: Path,
    out: Path,
    limit_s: float,
    epochs: int = 4,
    batch_size: int = 16,
    start: Path | None = None,
    most_faces: int | None = None,
) -> None:
    """Train projector and language model for at most LIMIT_S seconds, on the encoder left in ENCODER.

    MOST_FACES, drawn by chance, saves measuring the movements of faces that there is no time to learn from.
    """
    torch.manual_seed(0)
    trained, _ = dataset.load(prepared, action_units.Estimator.load()).split()
    trained = trained.sample(most_faces)
    tokenizer = base.tokenizer()
    explainer = Explainer(bundling.new_model(encoder, tokenizer), lora_config())
    if start:
        training_checkpoints.load_trained(explainer, training_checkpoints.newest_checkpoint(start))
    faces = _joined(trained, encoder).as_in_photographs()
    task = finetuning.ExplainTask(faces, explainer, tokenizer)
    schedule = training.Schedule(epochs * len(faces) // batch_size, batch_size, limit_s=limit_s)
    training.train(task, schedule, out, _report)


@app.command()
def bundle(prepared: Path, encoder: Path, trained: Path, out: Path) -> None:
    """Calibrate on held-out people and write the model that ships, with its card, to OUT."""
    _, held_out = dataset.load(prepared, action_units.Estimator.load()).split()
    card = bundling.bundle(encoder, trained, _joined(held_out, encoder), out)
    print(json.dumps(card, indent=2))


def _joined(faces: dataset.FaceSet, encoder: Path) -> dataset.FaceSet:
    """The faces with their movements as labelling measures them."""
    tower = encoder_training.trained_reader(encoder).tower
    encode = partial(fit_unit_reader.features, tower)
    return fit_unit_reader.joined(faces, encode, UnitReader.load(encoder / ACTION_UNITS))


def _report(step: int, metrics: training.Metrics) -> None:
    print(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()), flush=True)


if __name__ == "__main__":
    run_program(app, sys.argv[1:])
