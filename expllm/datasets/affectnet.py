"""AffectNet: the official CSV lists, and those of its copies on Kaggle -> labelled faces."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from expllm.datasets import csv_lists, fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Row
from expllm.datasets.vocabularies import AFFECTNET, AFFECTNET_SAMPLE
from expllm.errors import CallerError

_OFFICIAL = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
_READ = ("subDirectory_filePath", "expression", "face_x", "face_y", "face_width", "face_height")
_LISTS = ("training.csv", "validation.csv")
"""Those of manual labels; the list of automatic ones has to be named itself."""
_LIST_FOLDERS = (".", "Manually_Annotated_file_lists")
_PICTURE = re.compile(r"\d+/[^/]+\.\w+")
_SAMPLE_ROOT = re.compile(r"^(?:\.\./)*input/[^/]+/")


def official_lists(path: Path) -> list[Path]:
    """The official lists that a path names: itself, or those in a folder."""
    files = [path / folder / name for folder in _LIST_FOLDERS for name in _LISTS] if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".csv" and file.is_file() and _is_official(file)]


def kaggle_lists(path: Path) -> list[Path]:
    """The lists of a copy on Kaggle that a path names: `pth,label`, or the sample's `image,emotion`."""
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".csv" and (_has_words(file) or _has_numbers(file))]


def read_official(files: list[Path]) -> Iterator[Row]:
    """Read the official lists; faces have their boxes in the uncropped pictures.

    Raises:
        CallerError: the pictures are not there.
    """
    return chain.from_iterable(_official(file) for file in files)


def read_kaggle(files: list[Path]) -> Iterator[Row]:
    """Read the lists of a copy on Kaggle; its pictures are cropped, and their names count from the list."""
    return chain.from_iterable(_kaggle(file) for file in files)


def _is_official(file: Path) -> bool:
    first = csv_lists.header(file)
    return set(_READ) <= set(first) or _is_headless(first)


def _is_headless(first: tuple[str, ...]) -> bool:
    """Whether a list begins with a face: some copies of validation.csv have no header."""
    return len(first) == len(_OFFICIAL) and _PICTURE.fullmatch(first[0]) is not None


def _official(file: Path) -> Iterator[Row]:
    files = Files(_pictures(file))
    split = fields.split_in(file.stem)

    def row(name: str, label: str, x: str, y: str, width: str, height: str) -> Row:
        return fields.assemble(
            split=split,
            expression=fields.numbered(label, AFFECTNET),
            photo=files.find(name),
            box_px=fields.sides((x, y, width, height)),
        )

    names = _OFFICIAL if _is_headless(csv_lists.header(file)) else None
    return csv_lists.read(file, _READ, row, names=names)


def _pictures(file: Path) -> Path:
    kind = "Automatically_Annotated" if file.stem.startswith("automatically") else "Manually_Annotated"
    names = (f"{kind}_Images", f"{kind}/{kind}_Images", kind, f"{kind}_compressed", ".")
    for folder in (home / name for home in (file.parent, file.parent.parent) for name in names):
        if folder.is_dir() and any(child.name.isdecimal() and child.is_dir() for child in folder.iterdir()):
            return folder
    raise CallerError(f"{file}: has no pictures; put the folder {kind}_Images beside it")


def _has_words(file: Path) -> bool:
    return {"pth", "label"} <= set(csv_lists.header(file))


def _has_numbers(file: Path) -> bool:
    # Other lists have these two columns as well, and count their classes otherwise.
    return "affectnet" in file.name.lower() and {"image", "emotion"} <= set(csv_lists.header(file))


def _kaggle(file: Path) -> Iterator[Row]:
    files = Files(file.parent)
    split = fields.split_in(file.stem)

    def worded(name: str, label: str) -> Row:
        return fields.assemble(split=split, expression=fields.worded(label), photo=files.find(name))

    def numbered(name: str, label: str) -> Row:
        expression = fields.numbered(label, AFFECTNET_SAMPLE)
        return fields.assemble(
            split=split, expression=expression, photo=files.find(_SAMPLE_ROOT.sub("", name))
        )

    if _has_words(file):
        return csv_lists.read(file, ("pth", "label"), worded)
    return csv_lists.read(file, ("image", "emotion"), numbered)
