"""The pictures a benchmark shows to its models, and what is known of each: rendered faces or photographs."""

import csv
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow.parquet as pq

from expllm.errors import CallerError
from expllm.expressions import Expression, read_expression
from expllm.facs import Intensities

LABELS = "labels.csv"
_TRUTH = "faces.parquet"
_COLUMNS = ("file", "expression", "person")
_NAMED = re.compile(r"([a-z]+)_(\w+)")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


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
    if not (folder / _TRUTH).exists():
        # In a process of its own: vLLM trips over the compiler that rendering loads.
        subprocess.run([sys.executable, "-m", "jobs.faces", "--out", str(folder), *options], check=True)
    return [
        Picture(folder / row["file"], Expression(row["expression"]), str(row["person"]), row["action_units"])
        for row in pq.read_table(folder / _TRUTH).to_pylist()
    ]


def photographs(folder: Path, half: Half | None = None) -> list[Picture]:
    """Read what FOLDER's labels.csv says of its photographs, or their names: `happiness_012.jpg`.

    Args:
        half: Only the photographs of these people; None for all.

    Raises:
        CallerError: there are none, or one has no known expression.
    """
    labels = folder / LABELS
    found = _from_table(labels) if labels.exists() else _from_names(folder)
    kept = [picture for picture in found if half is None or half_of(picture.person) is half]
    if not kept:
        raise CallerError(f"{folder}: holds no photograph of those asked for")
    return kept


def half_of(person: str) -> Half:
    """The half a person belongs to: even numbers are looked at; who has no number goes by a hash."""
    number = int(person) if person.isdecimal() else hashlib.sha256(person.encode()).digest()[0]
    return Half.FINAL if number % 2 else Half.LOOK


def _from_table(labels: Path) -> list[Picture]:
    with labels.open(newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        missing = sorted(set(_COLUMNS) - set(table.fieldnames or ()))
        if missing:
            raise CallerError(f"{labels}: has no column {missing[0]!r}; it needs {', '.join(_COLUMNS)}")
        return [_picture(labels.parent / row["file"], row["expression"], row["person"]) for row in table]


def _from_names(folder: Path) -> list[Picture]:
    if not folder.is_dir():
        raise CallerError(f"{folder}: there is no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
    return [_picture(file, *_parts(file)) for file in files]


def _parts(file: Path) -> tuple[str, str]:
    named = _NAMED.fullmatch(file.stem)
    if named is None:
        raise CallerError(f"{file}: is not named like happiness_012.jpg; write {LABELS} beside it")
    return named[1], named[2]


def _picture(file: Path, word: str, person: str) -> Picture:
    expression = read_expression(word)
    if expression is None:
        raise CallerError(f"{file}: {word!r} is no expression that is known here")
    return Picture(file, expression, person)


def write_list(pictures: Iterable[Picture], file: Path) -> None:
    """Write the list of pictures that the label job takes as its INPUT."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{picture.file.resolve()}\n" for picture in pictures))
