"""`python -m jobs.fit_action_units PREPARED`: fit the action-unit estimator on rendered faces."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from typer import Argument, Option

from expllm import action_units
from expllm.cli import run_command
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS
from expllm.models import dataset, fit_action_units
from expllm.models.fit_action_units import KnownFace
from expllm.photographs import Photograph
from expllm.rendering import expressions
from expllm.rendering.person import Person
from expllm.rendering.render import render_face
from expllm.rendering.scene import Scene

_FIRST_PERSON = 5_000_000
"""Far from the people of `expllm faces`."""
_SIZE_PX = 192
_MOST_CHANGES = 4
_CHANGEABLE = tuple(column for column in COLUMNS if column != "au12")  # its two sides make it


def main(
    prepared: Annotated[Path, Argument(help="Faces that `jobs.train_default prepare` wrote.")],
    drawn: Annotated[int, Option(min=0, help="Faces to render besides, with movements drawn freely.")] = 3400,
    out: Annotated[Path, Option(help="File for the weights.")] = action_units.BUNDLED,
) -> None:
    """Fit the action-unit estimator on PREPARED and on faces rendered with freely drawn movements.

    People who are held out of trainings are held out here as well.
    """
    torch.set_num_threads(1)  # the network is too small to share: threads only wait for each other
    faces = fit_action_units.prepared(prepared)
    faces = faces.where(~dataset.is_held_out(faces.people))
    if drawn:
        faces = fit_action_units.joined(faces, fit_action_units.detect(_counted(_drawn(drawn))))
    fit_action_units.save(fit_action_units.fit(faces), out)
    print(f"fitted on {len(faces.people)} faces; python -m benchmarks.action_units measures it")


def _counted(known: Iterable[KnownFace]) -> Iterator[KnownFace]:
    for done, face in enumerate(known, 1):
        if done % 1000 == 0:
            print(f"{done} faces", flush=True)
        yield face


def _drawn(count: int) -> Iterator[KnownFace]:
    """Faces on which any movements go together: expressions alone would teach that brows rise as one."""
    for seed in range(_FIRST_PERSON, _FIRST_PERSON + count):
        face = render_face(Person.sample(seed), _movements(seed), Scene.sample(seed), _SIZE_PX)
        photograph = Photograph(face.pixels, _SIZE_PX, _SIZE_PX)
        yield KnownFace(photograph, face.truth.box_px, face.truth.action_units, seed)


def _movements(seed: int) -> dict[str, float]:
    """An expression, or a face at rest, with up to _MOST_CHANGES movements added or taken away."""
    rng = np.random.default_rng([seed, 77])
    expression = EXPRESSIONS[rng.integers(len(EXPRESSIONS))] if rng.random() < 0.5 else Expression.NEUTRAL
    movements = dict(expressions.sample(expression, seed).action_units)
    for _ in range(rng.integers(_MOST_CHANGES + 1)):
        column = _CHANGEABLE[rng.integers(len(_CHANGEABLE))]
        movements[column] = 0.0 if movements.get(column, 0.0) > 0.2 else float(rng.uniform(0.15, 1))
        if column.endswith(("_left", "_right")) and rng.random() < 0.5:
            movements[_other_side(column)] = movements[column]
    return movements


def _other_side(column: str) -> str:
    unit, side = column.split("_")
    return f"{unit}_{'right' if side == 'left' else 'left'}"


if __name__ == "__main__":
    run_command(main)
