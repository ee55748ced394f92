"""RAF-DB, basic and compound: the official list, and aligned or original pictures -> labelled faces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from expllm.datasets import fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Rejected, Row
from expllm.datasets.vocabularies import RAF_DB, RAF_DB_COMPOUND
from expllm.errors import CallerError, Reject
from expllm.faces import Box

LIST = "list_patition_label.txt"
"""Spelt as the data set spells it."""
_ALIGNED, _ORIGINAL = "aligned", "original"
_COMPOUND_ONLY = frozenset(RAF_DB_COMPOUND) - frozenset(RAF_DB)


@dataclass(frozen=True)
class Found:
    """Where RAF-DB lies."""

    labels: Path
    pictures: Path | None
    """The folder of pictures that was asked for; None: the aligned ones, else the originals."""


def find(path: Path) -> Found | None:
    """What a path names: the official list, the data set's folder, or the folder of one kind of pictures."""
    if path.name == LIST and path.is_file():
        return Found(path, None)
    is_pictures = path.name in (_ALIGNED, _ORIGINAL)
    homes = (path.parent, path.parent.parent) if is_pictures else (path, path / "basic")
    for labels in (home / folder / LIST for home in homes for folder in ("EmoLabel", ".")):
        if labels.is_file():
            return Found(labels, path if is_pictures else None)
    return None


def read(found: Found) -> Iterator[Row]:
    """Read the list with its pictures.

    Originals come with the boxes of Annotation/boundingbox; in an aligned picture the face is the whole.
    The list of compound expressions must lie in a folder `compound`: its numbers look like the basic ones.

    Raises:
        CallerError: there are no pictures, no boxes, or compound labels where basic ones should be.
    """
    home = _home(found.labels)
    lines = [line.split() for line in found.labels.read_text(errors="replace").splitlines() if line.strip()]
    is_compound = home.name == "compound"
    if not is_compound and {str(number) for number in _COMPOUND_ONLY} <= {line[-1] for line in lines}:
        raise CallerError(f"{found.labels}: holds compound expressions; put it into a folder named compound")
    pictures = found.pictures or _pictures(home)
    is_aligned = pictures.name == _ALIGNED
    row = partial(
        _row,
        Files(pictures),
        "_aligned.jpg" if is_aligned else ".jpg",
        _no_box if is_aligned else _boxes(home),
        _compound if is_compound else _basic,
    )
    return (row(*line) if len(line) == 2 else Rejected(Reject.MALFORMED_ROW) for line in lines)


def _row(
    files: Files,
    ending: str,
    box: Callable[[str], Box | Reject | None],
    meaning: Callable[[str], dict[str, Any]],
    name: str,
    label: str,
) -> Row:
    name = name.removesuffix(".jpg")
    return fields.assemble(
        split=fields.split_in(name), **meaning(label), photo=files.find(name + ending), box_px=box(name)
    )


def _basic(label: str) -> dict[str, Any]:
    return {"expression": fields.numbered(label, RAF_DB)}


def _compound(label: str) -> dict[str, Any]:
    compound = fields.numbered(label, RAF_DB_COMPOUND)
    return {
        "expression": None,
        "groups": compound if isinstance(compound, Reject) else {"compound": compound},
    }


def _home(labels: Path) -> Path:
    return labels.parent.parent if labels.parent.name == "EmoLabel" else labels.parent


def _pictures(home: Path) -> Path:
    folders = [place / kind for kind in (_ALIGNED, _ORIGINAL) for place in (home / "Image", home)]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise CallerError(f"{home}: has no pictures; put the folder Image/aligned into it")
    return found


def _no_box(name: str) -> None:
    return None


def _boxes(home: Path) -> Callable[[str], Box | Reject]:
    folder = home / "Annotation" / "boundingbox"
    if not folder.is_dir():
        raise CallerError(f"{folder}: is not there, and tells which face of an original picture is meant")

    def box(name: str) -> Box | Reject:
        try:
            return fields.corners((folder / f"{name}_boundingbox.txt").read_text(errors="replace").split())
        except FileNotFoundError:
            return Reject.MALFORMED_BOX

    return box
