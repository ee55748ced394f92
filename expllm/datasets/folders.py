"""A folder for each class, in splits or not, or pictures named by their expression -> labelled faces."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from expllm.datasets import fields, vocabularies
from expllm.datasets.labelled import LabelledFace, Rejected, Row
from expllm.datasets.vocabularies import Numbering
from expllm.errors import CallerError, Reject
from expllm.expressions import Expression, read_expression

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_OTHER_PICTURES = frozenset({".bmp", ".gif", ".tif", ".tiff", ".pgm"})
_NAMED = re.compile(r"([A-Za-z]+)_(\w+)")
_SAMPLE_CLASS = re.compile(r"class(\d{3})")

_Label = Callable[[str], Expression | Reject]


def classes_of(path: Path) -> Path | None:
    """The path, where it or one of its splits has a folder named by an expression."""
    names = (name for _, place in _levels(path) for name in _folders(place))
    return path if any(_by_word(name) is not Reject.UNKNOWN_LABEL for name in names) else None


def has_numbers(folder: Path) -> bool:
    """Whether it has classes that are numbers, which do not say whose they are."""
    names = {name for _, place in _levels(folder) for name in _folders(place)}
    return {"1", "2", "3"} <= names


def named_pictures_of(path: Path) -> Path | None:
    """The path, where a picture in it has a name like happiness_012.jpg."""
    pictures = _pictures(path) if path.is_dir() else ()
    return path if any(_by_name(file)[0] is not Reject.UNKNOWN_LABEL for file in pictures) else None


def read_classes(folder: Path) -> Iterator[Row]:
    """Read a folder whose classes are named by words."""
    return _read(folder, _by_word)


def read_numbered(folder: Path, numbering: Numbering) -> Iterator[Row]:
    """Read a folder whose classes are numbers of a data set.

    Raises:
        CallerError: it has none.
    """
    if not (folder.is_dir() and has_numbers(folder)):
        raise CallerError(
            f"{folder}: has no class folders 1, 2, 3 ..., directly or below train, val and test"
        )
    return _read(folder, lambda name: fields.numbered(name, numbering))


def read_named(folder: Path) -> Iterator[Row]:
    """Read pictures whose names are expression and person, as in happiness_012.jpg."""
    for picture in _pictures(folder):
        expression, person = _by_name(picture)
        yield _row(picture, expression, person=person)


def _read(folder: Path, label: _Label) -> Iterator[Row]:
    for split, place in _levels(folder):
        for _ in _pictures(place):  # of no class
            yield Rejected(Reject.UNKNOWN_LABEL, split)
        for name in _folders(place):
            is_a_level = place == folder and fields.split_in(name) is not None
            if not is_a_level:
                for picture in _pictures(place / name, deep=True):
                    yield _row(picture, label(name), split=split)


def _row(
    picture: str, expression: Expression | Reject, *, split: str | None = None, person: str | None = None
) -> Row:
    if isinstance(expression, Reject):
        return Rejected(expression, split)
    if os.path.splitext(picture)[1].lower() not in SUFFIXES:  # noqa: PTH122
        return Rejected(Reject.UNKNOWN_FORMAT, split)
    return LabelledFace(picture, expression, split=split, person=person)


def _levels(folder: Path) -> list[tuple[str | None, Path]]:
    """The folder itself, and those of its folders that are splits: where classes may lie."""
    splits = [(fields.split_in(name), folder / name) for name in _folders(folder)]
    return [(None, folder), *((split, place) for split, place in splits if split)]


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def _pictures(folder: Path, *, deep: bool = False) -> Iterator[str]:
    """The paths of a folder's pictures in order, and of those below it where asked; hidden ones are none."""
    for place, below, names in os.walk(folder):
        below.sort()
        for name in sorted(names):
            if name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES | _OTHER_PICTURES:  # noqa: PTH122
                yield f"{place}/{name}"
        if not deep:
            return


def _by_word(name: str) -> Expression | Reject:
    sample = _SAMPLE_CLASS.fullmatch(name)
    if sample:
        return fields.numbered(sample[1], vocabularies.AFFECTNET_SAMPLE)
    return read_expression(name) or Reject.UNKNOWN_LABEL


def _by_name(picture: str) -> tuple[Expression | Reject, str | None]:
    named = _NAMED.fullmatch(Path(picture).stem)
    if named is None:
        return Reject.UNKNOWN_LABEL, None
    return read_expression(named[1]) or Reject.UNKNOWN_LABEL, named[2]
