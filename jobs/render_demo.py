"""Renders the demo's photographs, always the same ones: `python -m jobs.render_demo FOLDER`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import UInt8
from PIL import Image

from expllm.cli import run_command
from expllm.expressions import Expression
from expllm.rendering import expressions, pictures
from expllm.rendering.person import Person
from expllm.rendering.render import cut_out, render_face
from expllm.rendering.scene import Scene

SIZE_PX = 512
PORTRAITS = (
    (Expression.HAPPINESS, 18, 126),
    (Expression.SURPRISE, 21, 321),
    (Expression.ANGER, 6, 606),
    (Expression.SADNESS, 21, 221),
    (Expression.DISGUST, 4, 504),
    (Expression.FEAR, 3, 403),
    (Expression.CONTEMPT, 8, 708),
    (Expression.NEUTRAL, 5, 20),
)
"""Expression, the seed of its movements, the seed of the person and the scene."""
GROUP = ((Expression.HAPPINESS, 18, 123), (Expression.NEUTRAL, 5, 22), (Expression.SURPRISE, 17, 333))
_STEP_PX = 270
_QUALITY = 88


def main(folder: Annotated[Path, typer.Argument(help="Where the pictures go.")]) -> None:
    """Render eight portraits, one of each expression, and one picture of a group."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (expression, seed, person) in enumerate(PORTRAITS, start=1):
        rendered = render_face(Person.sample(person), _units(expression, seed), _clear(person), SIZE_PX)
        _save(rendered.pixels, folder / f"{number:02d}_{expression}.jpg")
    _save(_group(), folder / f"{len(PORTRAITS) + 1:02d}_group.jpg")


def _units(expression: Expression, seed: int) -> dict[str, float]:
    return expressions.sample(expression, seed).action_units


def _clear(seed: int) -> Scene:
    """A scene as a good camera takes it: even light, little turned, the whole head in the picture."""
    drawn = Scene.sample(seed)
    return replace(
        drawn,
        yaw_deg=0.5 * drawn.yaw_deg,
        pitch_deg=0.5 * drawn.pitch_deg,
        face_share=0.54,
        centre=(0.5, 0.53),
        key=1.0,
        ambient=max(drawn.ambient, 0.45),
        light_up_deg=abs(drawn.light_up_deg),
        softness=0.7,
        contrast=1.0,
        saturation=1.0,
        detail=1.0,
        blur_px=0,
        noise=0.004,
        jpeg_quality=95,
    )


def _group() -> UInt8[np.ndarray, "height width 3"]:
    """Stand people side by side in one light; the later ones stand in front."""
    shared = _clear(GROUP[0][2])
    width_px = SIZE_PX + _STEP_PX * (len(GROUP) - 1)
    layer = np.zeros((SIZE_PX, width_px, 4), np.float32)
    for place, (expression, seed, person) in enumerate(GROUP):
        own = _clear(person)
        pose = {"yaw_deg": own.yaw_deg, "pitch_deg": own.pitch_deg, "roll_deg": own.roll_deg}
        scene = replace(shared, **pose, face_share=0.38)
        cutout = cut_out(Person.sample(person), _units(expression, seed), scene, SIZE_PX).layer
        window = layer[:, place * _STEP_PX : place * _STEP_PX + SIZE_PX]
        window[:] = cutout + window * (1 - cutout[..., 3:])
    return pictures.develop(layer, pictures.background(shared.background_seed, width_px, SIZE_PX), shared)


def _save(pixels: UInt8[np.ndarray, "height width 3"], path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=_QUALITY, optimize=True)


if __name__ == "__main__":
    run_command(main)
