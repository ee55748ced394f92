"""What carries over from rendered faces to photographs: linear readers of an encoder's features, compared.

python -m benchmarks.carry_over PREPARED PHOTOGRAPHS [--half look]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float16, Float64, Int64
from torch.nn import functional
from typer import Argument, Option

from benchmarks import detection, pictures
from benchmarks.pictures import Half
from benchmarks.quality import share
from expllm.cli import run_command
from expllm.expressions import EXPRESSIONS, Expression
from expllm.models import dataset
from expllm.models.augmentation import augment, centre, draw_moves
from expllm.models.checkpoint import resolve
from expllm.models.dataset import STORED_PX, FaceSet
from expllm.models.encoder import Encoder
from expllm.models.tower import AttentionPool
from expllm.unit_reader import EVIDENCE

Features = Float16[np.ndarray, "faces tokens width"]
Expressions = Int64[np.ndarray, " faces"]

_STEPS, _BATCH, _RATE = 900, 128, 2e-3
_ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class Mix:
    """How often a reader sees the faces of a prepared set, against 1."""

    name: str
    least_peak: float
    """Weaker expressions are not seen."""
    often: dict[Expression, float]


_MIXES = (
    Mix("all alike", 0.0, {}),
    Mix("strong", 0.5, {}),
    Mix("strong, neutral x 3", 0.5, {Expression.NEUTRAL: 3}),
    Mix(
        "strong, neutral x 4, smiles x 2, contempt x .3",
        0.5,
        {Expression.NEUTRAL: 4, Expression.HAPPINESS: 2, Expression.CONTEMPT: 0.3},
    ),
)


def main(
    prepared: Annotated[Path, Argument(help="Rendered faces that `jobs.train_default prepare` wrote.")],
    photographs: Annotated[Path, Argument(help="Folder of photographs; labels.csv or names label them.")],
    half: Annotated[Half | None, Option(help="Only the photographs of this half of the people.")] = None,
    model: Annotated[str, Option(help="The model whose encoder gives the features.")] = "expllm-135m",
    faces: Annotated[int, Option(min=100, help="Rendered faces to learn from.")] = 12_000,
) -> None:
    """Print how many labels are right on people held out and on photographs, by branch and by mix."""
    trained, held_out = dataset.load(prepared).split()
    trained = trained.sample(faces)
    encoder = Encoder(resolve(model))
    learnt_from = _altered(encoder, trained)
    rendered = _encoded(encoder, centre(np.asarray(held_out.crops))), held_out.expressions
    real = _photographs(photographs, half, model)
    width = (learnt_from.shape[2] - EVIDENCE) // 2
    branches = {"photographs": slice(width), "rendered": slice(width, 2 * width), "both": slice(2 * width)}
    print(f"{'branch':12} {'faces that the reader learnt from':50} rendered photographs")
    for branch, channels in branches.items():
        for mix in _MIXES:
            reader = fit(learnt_from[..., channels], trained.expressions, weights(trained, mix))
            right = [accuracy(reader, seen[..., channels], truth) for seen, truth in (rendered, real)]
            print(f"{branch:12} {mix.name:50} {share(right[0]):>8} {share(right[1]):>11}", flush=True)


def weights(faces: FaceSet, mix: Mix) -> Float64[np.ndarray, " faces"]:
    """How often each face is seen; a face at rest has no peak and counts as strong."""
    often = np.array([mix.often.get(expression, 1.0) for expression in EXPRESSIONS])[faces.expressions]
    is_seen = (faces.peaks >= mix.least_peak) | (faces.expressions == EXPRESSIONS.index(Expression.NEUTRAL))
    return often * is_seen


def fit(
    features: Features, expressions: Expressions, often: Float64[np.ndarray, " faces"], steps: int = _STEPS
) -> AttentionPool:
    """Train a linear reader with an attention for each expression."""
    torch.manual_seed(0)
    tokens, truth, drawn = torch.from_numpy(features), torch.from_numpy(expressions), torch.from_numpy(often)
    reader = AttentionPool(features.shape[2], len(EXPRESSIONS))
    optimizer = torch.optim.AdamW(reader.parameters(), _RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(steps):
        batch = torch.multinomial(drawn, _BATCH, replacement=True)
        loss = functional.cross_entropy(reader(tokens[batch].float()), truth[batch], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return reader


def accuracy(reader: AttentionPool, features: Features, expressions: Expressions) -> float:
    """Share of the faces whose expression is read rightly."""
    with torch.inference_mode():
        read = reader(torch.from_numpy(features).float()).argmax(dim=1).numpy()
    return float((read == expressions).mean())


def _altered(encoder: Encoder, faces: FaceSet) -> Features:
    """Features of the crops as a training sees them; not mirrored."""
    rng = np.random.default_rng(0)
    crops = []
    for start in range(0, len(faces), _ENCODED_AT_ONCE):
        stored = np.asarray(faces.crops[start : start + _ENCODED_AT_ONCE])
        pixels = augment(stored, draw_moves(np.zeros(len(stored), bool), STORED_PX, rng), rng)
        crops.append((pixels * 255).byte().permute(0, 2, 3, 1).numpy())
    return _encoded(encoder, np.concatenate(crops))


def _encoded(encoder: Encoder, crops: np.ndarray) -> Features:
    parts = np.split(crops, range(_ENCODED_AT_ONCE, len(crops), _ENCODED_AT_ONCE))
    return np.concatenate([encoder.encode(part) for part in parts])


def _photographs(folder: Path, half: Half | None, model: str) -> tuple[Features, Expressions]:
    shown: Sequence[pictures.Picture] = pictures.photographs(folder, half)
    found = zip(shown, detection.see((picture.file for picture in shown), model), strict=True)
    seen = [(one.features, EXPRESSIONS.index(picture.expression)) for picture, one in found if one]
    features, expressions = zip(*seen, strict=True)
    return np.stack(features), np.array(expressions)


if __name__ == "__main__":
    run_command(main)
