"""RAF-DB, basic and compound: the official list, and aligned or original pictures -> labelled faces."""

from collections.abc import Callable, Iterator
from pathlib import Path

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


def list_of(path: Path) -> Path | None:
    """The official list that belongs to a path: the list, the data set's folder, or one of its pictures'."""
    if path.name == LIST and path.is_file():
        return path
    folders = [path, path / "EmoLabel", path / "basic" / "EmoLabel"]
    if path.name in (_ALIGNED, _ORIGINAL):
        folders += [path.parent, path.parent / "EmoLabel", path.parent.parent / "EmoLabel"]
    return next((folder / LIST for folder in folders if (folder / LIST).is_file()), None)


def read(path: Path) -> Iterator[Row]:
    """Read the list with the pictures that the path names, else with the aligned ones, else the originals.

    Originals come with the boxes of Annotation/boundingbox; in an aligned picture the face is the whole.
    The list of compound expressions must lie below a folder `compound`: its numbers look like the basic ones.

    Raises:
        CallerError: there are no pictures, no boxes, or compound labels where basic ones should be.
    """
    labels = list_of(path)
    assert labels is not None
    pictures = path if path.name in (_ALIGNED, _ORIGINAL) else _pictures(labels)
    lines = [line.split() for line in labels.read_text(errors="replace").splitlines() if line.strip()]
    is_compound = "compound" in labels.parts
    if not is_compound and {str(number) for number in _COMPOUND_ONLY} <= {line[-1] for line in lines}:
        raise CallerError(f"{labels}: holds compound expressions; put it below a folder named compound")
    files = Files(pictures)
    if pictures.name == _ALIGNED:
        return (_row(line, is_compound, files, "_aligned", _no_box) for line in lines)
    return (_row(line, is_compound, files, "", _boxes(labels)) for line in lines)


def _home(labels: Path) -> Path:
    return labels.parent.parent if labels.parent.name == "EmoLabel" else labels.parent


def _pictures(labels: Path) -> Path:
    folders = [
        place / kind for kind in (_ALIGNED, _ORIGINAL) for place in (_home(labels) / "Image", _home(labels))
    ]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise CallerError(f"{labels}: has no pictures; put the folder Image/aligned into {_home(labels)}")
    return found


def _no_box(name: str) -> None:
    return None


def _boxes(labels: Path) -> Callable[[str], Box | Reject]:
    folder = _home(labels) / "Annotation" / "boundingbox"
    if not folder.is_dir():
        raise CallerError(f"{folder}: is not there, and tells which face of an original picture is meant")

    def box(name: str) -> Box | Reject:
        try:
            return fields.corners((folder / f"{name}_boundingbox.txt").read_text(errors="replace").split())
        except FileNotFoundError:
            return Reject.MALFORMED_BOX

    return box


def _row(
    line: list[str],
    is_compound: bool,
    files: Files,
    suffix: str,
    box: Callable[[str], Box | Reject | None],
) -> Row:
    if len(line) != 2:
        return Rejected(Reject.MALFORMED_ROW)
    name, label = line[0].removesuffix(".jpg"), line[1]
    split = fields.split_in(name)
    compound = fields.numbered(label, RAF_DB_COMPOUND) if is_compound else None
    if isinstance(compound, Reject):
        return Rejected(compound, split)
    return fields.assemble(
        split=split,
        expression=None if is_compound else fields.numbered(label, RAF_DB),
        photo=files.find(f"{name}{suffix}.jpg"),
        box_px=box(name),
        groups={"compound": compound} if compound else {},
    )
