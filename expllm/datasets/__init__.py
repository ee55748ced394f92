"""A folder of labelled faces -> the faces in one form: rendered faces, or a folder for each expression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from expllm.errors import CallerError
from expllm.expressions import Expression, read_expression
from expllm.facs import Intensities

_TRUTH = "faces.parquet"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_GROUPS = ("skin", "age", "sex")


@dataclass(frozen=True)
class LabelledFace:
    """One face and what is known of it; None where a data set does not say."""

    photo: str
    """Path or URI of the photograph."""
    expression: Expression | None
    box_px: tuple[float, float, float, float] | None = None
    action_units: Intensities | None = None
    """The true ones, where they are known."""
    person: str | None = None
    split: str | None = None
    peak: float | None = None
    """The largest intensity aimed at in a rendered face; 0 for neutral."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Subgroups it belongs to, such as skin -> dark."""
    description: str | None = None
    image: bytes | None = None
    """The photograph itself, where the data set holds it."""
    repeat: int = 1


@dataclass(frozen=True)
class Dataset:
    """Labelled faces, and how many rows were left out, by reason."""

    name: str
    faces: Sequence[LabelledFace]
    rejected: Mapping[str, int]


def open(source: str) -> Dataset:
    """Read the faces of a folder.

    Raises:
        CallerError: there is no such folder, or it holds no labelled face.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise CallerError(f"{source}: there is no such folder")
    faces = _rendered(folder) if (folder / _TRUTH).exists() else _by_class(folder)
    if not faces:
        raise CallerError(f"{source}: holds neither {_TRUTH} nor folders named like expressions")
    return Dataset(folder.resolve().name, faces, {})


def _rendered(folder: Path) -> list[LabelledFace]:
    return [
        LabelledFace(
            photo=str(folder / row["file"]),
            expression=Expression(row["expression"]),
            box_px=tuple(row["box_px"]),
            action_units=row["action_units"],
            person=str(row["person"]),
            peak=row["peak"],
            groups={name: row[name] for name in _GROUPS},
        )
        for row in pq.read_table(folder / _TRUTH).to_pylist()
    ]


def _by_class(folder: Path) -> list[LabelledFace]:
    return [
        LabelledFace(str(file), expression)
        for named in sorted(path for path in folder.iterdir() if path.is_dir())
        if (expression := read_expression(named.name)) is not None
        for file in sorted(named.iterdir())
        if file.suffix.lower() in _SUFFIXES
    ]
