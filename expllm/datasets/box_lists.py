"""Lists of pictures with `left,top,right,bottom,class` for each face, as made of SFEW and RAF-DB -> faces."""

import re
from collections.abc import Iterator
from pathlib import Path

from expllm.datasets import fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Rejected, Row
from expllm.datasets.vocabularies import SFEW, Numbering
from expllm.errors import CallerError, Reject
from expllm.expressions import read_expression

_FACE = r"[^\s,]+(?:,[^\s,]+){4}"
_LINE = re.compile(rf"(?P<photo>\S.*?)(?P<faces>(?:\s+{_FACE})*)")
_CLASSES = ("*classes.txt", "model_data/*classes.txt")


def is_list(path: Path) -> bool:
    """Whether one of a text file's first lines is a picture and a face."""
    if not (path.is_file() and path.suffix == ".txt"):
        return False
    with path.open(errors="replace") as lines:
        first = next(lines, "").strip()
    return re.fullmatch(rf"\S.*?(?:\s+{_FACE})+", first) is not None


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
    found = [file for pattern in _CLASSES for file in sorted(path.parent.glob(pattern))]
    if not found:
        if "sfew" in str(path).lower():
            return SFEW
        raise CallerError(f"{path}: numbers its classes; write their names into classes.txt beside it")
    words = [line.strip() for line in found[0].read_text(errors="replace").splitlines() if line.strip()]
    read = {number: read_expression(word) for number, word in enumerate(words)}
    return {number: expression for number, expression in read.items() if expression is not None}
