"""What it costs to move the encoder's borders: by a constant on neutral, and by the vote of face-api's net.

python -m benchmarks.borders PHOTOGRAPHS [--half look] [--people 25]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from typer import Argument, Option

from benchmarks import detection, pictures, quality
from benchmarks.pictures import Half, Picture
from benchmarks.quality import share
from expllm.cli import run_command
from expllm.expressions import EXPRESSIONS, Expression
from expllm.models.architecture import ExpllmConfig
from expllm.models.checkpoint import resolve
from expllm.models.preprocessing import Preprocessing, to_pixels
from expllm.models.tower import started_tower
from expllm.unit_reader import expression_logits

VOTES = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Shares of the vote that are tried."""
ADDED = (-3.0, -1.5, -0.5, 0.0, 1.0)
"""Constants on neutral's evidence that are tried, with the vote as it ships."""
_NEUTRAL = EXPRESSIONS.index(Expression.NEUTRAL)

Evidence = Float32[np.ndarray, "faces expressions"]


@dataclass(frozen=True)
class Read:
    """What is read of a set of faces, and what is true of them."""

    evidence: Evidence
    """Without the vote."""
    votes: Evidence
    """Log-probabilities of face-api's net."""
    expressions: Int64[np.ndarray, " faces"]

    def accuracy(self, vote: float, added: float = 0.0) -> float:
        """Share of the faces read rightly with this share of the vote and this much added to neutral."""
        evidence = self.evidence + vote * self.votes
        evidence[:, _NEUTRAL] += added
        return float((evidence.argmax(axis=1) == self.expressions).mean())


def main(
    photographs: Annotated[Path, Argument(help="Folder of photographs; labels.csv or names label them.")],
    half: Annotated[Half | None, Option(help="Only the photographs of this half of the people.")] = None,
    people: Annotated[int, Option(min=1, help="People to render, with eight expressions each.")] = 25,
    out: Annotated[Path, Option(help="Folder for rendered pictures.")] = Path("out/quality"),
    model: Annotated[str, Option(help="The model whose encoder is read.")] = "expllm-135m",
) -> None:
    """Print how many labels the encoder alone gets right as its borders move."""
    shown, faint = quality.rendered(out, people)
    faint = [picture for picture in faint if picture.expression is not Expression.NEUTRAL]
    sets = (pictures.photographs(photographs, half), shown, faint)
    vote = ExpllmConfig.from_pretrained(resolve(model).path).vision_config.vote
    read = [_read(some, model, vote) for some in sets]
    print(f"{'':24} photographs rendered faint")
    for tried in VOTES:
        _print(f"vote {tried:g}", [one.accuracy(tried) for one in read])
    for added in ADDED:
        _print(f"vote {vote:g}, neutral {added:+g}", [one.accuracy(vote, added) for one in read])


def _print(name: str, right: Sequence[float]) -> None:
    photographs, rendered, faint = map(share, right)
    print(f"{name:24} {photographs:>11} {rendered:>8} {faint:>5}")


def _read(shown: Sequence[Picture], model: str, vote: float) -> Read:
    """Faces that are not found are left out; the model's evidence has this share of the vote in it."""
    found = zip(shown, detection.see((picture.file for picture in shown), model), strict=True)
    seen = [(one, EXPRESSIONS.index(picture.expression)) for picture, one in found if one]
    votes = _votes(np.stack([one.crop for one, _ in seen]))
    evidence = expression_logits(np.stack([one.features for one, _ in seen]))
    return Read(evidence - vote * votes, votes, np.array([truth for _, truth in seen]))


def _votes(crops: UInt8[np.ndarray, "faces size size 3"]) -> Evidence:
    """What face-api's net says of crops and their mirror images, whatever share the model gives it."""
    tower = started_tower().eval()
    pixels = Preprocessing().normalise(to_pixels(crops))
    with torch.inference_mode():
        both = [tower.read(side)[2] for side in (pixels, pixels.flip(-1))]
    return ((both[0] + both[1]) / 2 / tower.config.vote).numpy()


if __name__ == "__main__":
    run_command(main)
