"""The pictures a benchmark shows to its models, and what is known of each: rendered faces or photographs."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from expllm import datasets
from expllm.errors import CallerError
from expllm.expressions import Expression
from expllm.facs import Intensities


@dataclass(frozen=True)
class Picture:
    """One picture of one face."""

    file: Path
    expression: Expression
    person: str
    action_units: Intensities | None = None
    """The true ones; None where nobody knows them, as in photographs."""


class Half(StrEnum):
    """The people that work may look at, and those kept for the end."""

    LOOK = "look"
    FINAL = "final"


def rendered(folder: Path, *options: str) -> list[Picture]:
    """Read the pictures that `expllm faces --out FOLDER OPTIONS` renders; they are rendered once."""
    if not (folder / "faces.parquet").exists():
        # In a process of its own: vLLM trips over the compiler that rendering loads.
        subprocess.run([sys.executable, "-m", "jobs.faces", "--out", str(folder), *options], check=True)
    return _read(folder)


def photographs(folder: Path, half: Half | None = None) -> list[Picture]:
    """Read the photographs of a data set, and who shows what in them (docs/datasets.md).

    Args:
        half: Only the photographs of these people; None for all.

    Raises:
        CallerError: there are none, or none has a known expression and person.
    """
    kept = [picture for picture in _read(folder) if half is None or half_of(picture.person) is half]
    if not kept:
        raise CallerError(f"{folder}: holds no photograph of those asked for")
    return kept


def _read(folder: Path) -> list[Picture]:
    return [
        Picture(Path(face.photo), face.expression, face.person, face.action_units)
        for face in datasets.open(str(folder)).faces
        if face.expression is not None and face.person is not None
    ]


def half_of(person: str) -> Half:
    """The half a person belongs to: even numbers are looked at; who has no number goes by a hash."""
    number = int(person) if person.isdecimal() else hashlib.sha256(person.encode()).digest()[0]
    return Half.FINAL if number % 2 else Half.LOOK


def write_list(pictures: Iterable[Picture], file: Path) -> None:
    """Write the list of pictures that the label job takes as its INPUT."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{picture.file.resolve()}\n" for picture in pictures))
