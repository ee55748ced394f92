"""What every data set is read into: labelled faces, and how many rows cannot be used and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from expllm.errors import CallerError, Reject
from expllm.expressions import Expression
from expllm.faces import Box
from expllm.facs import Intensities

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledFace:
    """One face of a data set, and what the data set says of it."""

    photo: str
    """Path or URI of the picture; for pixels inside a CSV the file and its row, which nothing can open."""
    expression: Expression | None
    """None where the data set gives none, or one that is two of ours at once."""
    box_px: Box | None = None
    """The face that is meant; None: the largest one found."""
    action_units: Intensities | None = None
    """The true ones, or those that came with the data; None where they are not known."""
    person: str | None = None
    split: str | None = None
    """One of SPLITS; None where the data set is not divided."""
    peak: float | None = None
    """The largest intensity aimed at, 0..1; rendered faces alone have it."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Subgroup -> value: skin, age and sex of rendered faces, the compound expression of RAF-DB."""
    description: str | None = None
    """The chain of thought that came with the data, as text."""
    image: bytes | None = None
    """The encoded picture where the data set carries pixels itself."""
    repeat: int = 1
    """How often a training sees the face in one pass."""


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be used."""

    reason: Reject
    split: str | None = None


Row = LabelledFace | Rejected


@dataclass(frozen=True)
class Dataset:
    """The faces of a data set that can be used, at least one, in its own order."""

    name: str
    faces: Sequence[LabelledFace]
    rejected: Mapping[Reject, int] = field(default_factory=Counter)
    """How many rows cannot be used, by reason."""


def gather(name: str, source: str, rows: Iterable[Row], split: str | None) -> Dataset:
    """Collect the rows of one split, or all where none is named; rows of no known split count as rejected.

    Raises:
        CallerError: not one face is left.
    """
    faces: list[LabelledFace] = []
    rejected: Counter[Reject] = Counter()
    splits: set[str | None] = set()
    for row in rows:
        splits.add(row.split)
        is_asked = split in (None, row.split)
        if isinstance(row, Rejected):
            if is_asked or row.split is None:
                rejected[row.reason] += 1
        elif is_asked:
            faces.append(row)
    if not faces:
        raise CallerError(f"{source}: {_nothing_left(rejected, splits, split)}")
    return Dataset(name, faces, rejected)


def check_split(split: str | None) -> None:
    """Refuse the name of a split that no data set can have."""
    if split is not None and split not in SPLITS:
        raise CallerError(f"split {split!r}: there is none of this name; the splits are {', '.join(SPLITS)}")


def check_people(train: Dataset | Iterable[LabelledFace], test: Dataset | Iterable[LabelledFace]) -> None:
    """Refuse two sides that share a person; faces whose person nobody knows must not share a photograph.

    Raises:
        CallerError: they do; the line says how many, and names one.
    """
    shared = _people(train) & _people(test)
    if shared:
        verb = "person is" if len(shared) == 1 else "people are"
        raise CallerError(
            f"{len(shared)} {verb} on both sides, training and test, such as {min(shared)}; "
            "put all faces of a person on one side"
        )


def _people(side: Dataset | Iterable[LabelledFace]) -> set[str]:
    faces = side.faces if isinstance(side, Dataset) else side
    return {face.photo if face.person is None else face.person for face in faces}


def _nothing_left(rejected: Mapping[Reject, int], splits: set[str | None], split: str | None) -> str:
    """Why no face is left, and what to do about it."""
    named = [name for name in SPLITS if name in splits]
    if rejected:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items()))
        return f"none of its rows can be used ({counts}); docs/datasets.md says what each reason means"
    if split is None or not splits:
        return "holds no face"
    if not named:
        return f"is not divided into splits, so there is no {split!r}; ask for all of it"
    return f"has no split {split!r}; it has {', '.join(named)}"
