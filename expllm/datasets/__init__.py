"""Data sets of labelled faces: a source's name into the faces it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from expllm.errors import CallerError
from expllm.expressions import Expression
from expllm.facs import Intensities

_RENDERED = "faces.parquet"


@dataclass(frozen=True)
class LabelledFace:
    """One face that a data set names, and what it says of it."""

    photo: str
    """Path or URI of the photograph; where `image` holds its bytes, a name for them."""
    expression: Expression | None
    box_px: tuple[float, float, float, float] | None = None
    action_units: Intensities | None = None
    """True intensities, where they are known."""
    person: str | None = None
    split: str | None = None
    peak: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    image: bytes | None = None
    repeat: float = 1


@dataclass(frozen=True)
class Dataset:
    """The labelled faces of one source."""

    name: str
    faces: Sequence[LabelledFace]
    rejected: Mapping[str, int]
    """How many entries could not be used, by reason."""


def open(source: str) -> Dataset:
    """Open the folder of rendered faces, or their faces.parquet.

    Raises:
        CallerError: there is none.
    """
    path = Path(source)
    table = path if path.name == _RENDERED else path / _RENDERED
    if not table.is_file():
        raise CallerError(f"{source}: holds no {_RENDERED}; make it with `expllm faces --out {source}`")
    rows = pq.read_table(table).to_pylist()
    return Dataset(source, [_rendered(table.parent, row) for row in rows], {})


def _rendered(folder: Path, row: Mapping[str, object]) -> LabelledFace:
    return LabelledFace(
        photo=str(folder.absolute() / str(row["file"])),
        expression=Expression(str(row["expression"])),
        box_px=tuple(row["box_px"]),  # type: ignore[arg-type]
        action_units=row["action_units"],  # type: ignore[arg-type]
        person=str(row["person"]),
        peak=row["peak"],  # type: ignore[arg-type]
        groups={name: str(row[name]) for name in ("skin", "age", "sex")},
    )
