"""Lists of pictures with `left,top,right,bottom,class` for each face, as made of SFEW and RAF-DB -> faces."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from expllm.datasets import fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Rejected, Row
from expllm.datasets.vocabularies import SFEW, Numbering
from expllm.errors import CallerError, Reject
from expllm.expressions import read_expression

_FACE = r"[^\s,]+(?:,[^\s,]+){4}"
_LINE = re.compile(rf"(?P<photo>\S.*?)(?P<faces>(?:\s+{_FACE})*)")
_FIRST = 20
"""Lines that tell what a file is; pictures without a face may come first."""
_CLASSES = ("*classes.txt", "model_data/*classes.txt")


def list_of(path: Path) -> Path | None:
    """The path, where one of a text file's first lines is a picture and a face."""
    if path.suffix != ".txt" or not path.is_file():
        return None
    with path.open(errors="replace") as lines:
        named = [_LINE.fullmatch(line.strip()) for line in islice(lines, _FIRST)]
    return path if any(line and line["faces"] for line in named) else None


def read(path: Path) -> Iterator[Row]:
    """Read a list; relative names count from its folder, and a picture without a box is rejected.

    The classes' names stand in a file `...classes.txt` beside the list or in `model_data`, one a line from
    number 0 on; without one, they are SFEW's where the path says that the list is.

    Raises:
        CallerError: nothing says what the numbers mean.
    """
    numbering = _numbering(path)
    files, split = Files(path.parent), fields.split_in(path.stem)
    for line in path.read_text(errors="replace").splitlines():
        named = _LINE.fullmatch(line.strip())
        if named is None:
            continue  # an empty line
        if not named["faces"]:
            yield Rejected(Reject.MALFORMED_BOX, split)
        for face in named["faces"].split():
            *box, label = face.split(",")
            yield fields.assemble(
                split=split,
                expression=fields.numbered(label, numbering),
                photo=files.find(named["photo"]),
                box_px=fields.corners(box),
            )


def _numbering(path: Path) -> Numbering:
    files = [file for pattern in _CLASSES for file in sorted(path.parent.glob(pattern))]
    found = [numbering for file in files if (numbering := _named(file))]
    if not found and "sfew" in str(path).lower():
        return SFEW
    if not found or any(numbering != found[0] for numbering in found):
        raise CallerError(f"{path}: numbers its classes; write their names into one classes.txt beside it")
    return found[0]


def _named(file: Path) -> Numbering | None:
    """The numbering that a file of classes gives; None where not all of them are expressions."""
    words = file.read_text(errors="replace").splitlines()
    read = {number: read_expression(word) for number, word in enumerate(filter(str.strip, words))}
    known: Numbering = {number: found for number, found in read.items() if found is not None}
    return known if len(known) == len(read) else None
