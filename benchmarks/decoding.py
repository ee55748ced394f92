"""What decoding and cropping cost beside plain decoding with Pillow, on photographs of many sizes.

python -m benchmarks.decoding [--photographs DIR] [--count 10] [--out out/decoding]
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, __version__
from rich.console import Console
from rich.table import Table
from typer import Option

from benchmarks import pictures
from expllm import photographs
from expllm.cli import run_command
from expllm.errors import CallerError
from expllm.faces import STANDARD
from expllm.models.landmarker import Landmarker
from expllm.photographs import Photograph

FIRST_PERSON = 810_000
_ROUNDS = 3
"""The fastest of so many decodings of each photograph counts."""
_NOISE = 5.0
"""Standard deviation of a sensor's noise in 8-bit values: without it files are smaller than a camera's."""


@dataclass(frozen=True)
class Kind:
    """Photographs of one origin."""

    name: str
    longer_px: int
    format: str
    quality: int
    share: float
    """Of the photographs of a mixed bucket."""


KINDS = (
    Kind("phone, 12 megapixels", 4032, "JPEG", 90, 0.4),
    Kind("camera, 24 megapixels", 6000, "JPEG", 92, 0.1),
    Kind("screen, 2 megapixels", 1632, "JPEG", 85, 0.3),
    Kind("thumbnail", 640, "JPEG", 80, 0.1),
    Kind("screenshot", 1280, "PNG", 0, 0.05),
    Kind("web, WebP", 1280, "WEBP", 80, 0.05),
)


@dataclass(frozen=True)
class Cost:
    """Seconds of one core for a photograph of a kind, on average."""

    kind: str
    share: float
    plain_s: float
    ours_s: float
    """With its faces cut out."""


def main(
    directory: Annotated[
        Path | None, Option("--photographs", help="Photographs of people, instead of rendered ones.")
    ] = None,
    count: Annotated[int, Option(min=1, help="Photographs of each kind.")] = 10,
    out: Annotated[Path, Option(help="Folder for pictures and decoding.json.")] = Path("out/decoding"),
) -> None:
    """Decode and crop the same photographs in both ways, on one core, and print what it costs."""
    if directory is None:
        found = pictures.rendered(out / "faces", "--count", str(count), "--seed", str(FIRST_PERSON))
    else:
        found = pictures.photographs(directory)
    with Landmarker() as landmarker:
        costs = [_cost(kind, [picture.file for picture in found[:count]], landmarker) for kind in KINDS]
    result = {
        "kinds": [asdict(cost) for cost in costs],
        "speed_up": _speed_up(costs),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Pillow {__version__}",
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "decoding.json").write_text(json.dumps(result, indent=2) + "\n")
    _print(costs)


def _speed_up(costs: list[Cost]) -> float:
    return sum(cost.share * cost.plain_s for cost in costs) / sum(cost.share * cost.ours_s for cost in costs)


def _cost(kind: Kind, files: list[Path], landmarker: Landmarker) -> Cost:
    plain_s = ours_s = 0.0
    for number, file in enumerate(files):
        data = _encoded(kind, file, np.random.default_rng(number))
        faces = [face.landmarks_px for face in landmarker.detect(_decoded(data))]
        ours_s += _seconds(lambda data=data, faces=faces: list(_crops(data, faces)))
        plain_s += _seconds(lambda data=data: np.asarray(Image.open(BytesIO(data)).convert("RGB")))
    return Cost(kind.name, kind.share, plain_s / len(files), ours_s / len(files))


def _encoded(kind: Kind, file: Path, rng: np.random.Generator) -> bytes:
    """The picture as a photograph of this kind: enlarged, with a sensor's noise, compressed."""
    with Image.open(file) as opened:
        scale = kind.longer_px / max(opened.size)
        size = (round(opened.width * scale), round(opened.height * scale))
        pixels = np.asarray(opened.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    noisy = pixels + rng.normal(0, _NOISE, pixels.shape).astype(np.float32)
    out = BytesIO()
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    image.save(out, kind.format, **({"quality": kind.quality} if kind.quality else {}))
    return out.getvalue()


def _decoded(data: bytes) -> Photograph:
    photograph = photographs.decode(data)
    if not isinstance(photograph, Photograph):
        raise CallerError(f"a photograph cannot be used: {photograph}")
    return photograph


def _crops(data: bytes, faces: list[np.ndarray]) -> Iterator[np.ndarray]:
    photograph = _decoded(data)
    for landmarks_px in faces:
        yield STANDARD.out_of(photograph.pixels, landmarks_px * photograph.scale)


def _seconds(work: Callable[[], object]) -> float:
    """What a piece of work takes of this process's core, at best."""
    spent = []
    for _ in range(_ROUNDS):
        start_s = time.process_time()
        work()
        spent.append(time.process_time() - start_s)
    return min(spent)


def _print(costs: list[Cost]) -> None:
    printed = Table(title=f"Decoding and cropping beside plain decoding: {_speed_up(costs):.2f} x")
    for column in ("", "share", "Pillow, ms", "with crops, ms", "x"):
        printed.add_column(column, justify="right" if column else "left")
    for cost in costs:
        times = (1000 * cost.plain_s, 1000 * cost.ours_s, cost.plain_s / cost.ours_s)
        printed.add_row(cost.kind, f"{cost.share:.2f}", *(f"{value:.3g}" for value in times))
    Console().print(printed)


if __name__ == "__main__":
    run_command(main)
