"""FER2013 and FERPlus: pixels inside a CSV, labels or votes -> labelled faces."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import count, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from expllm.datasets import csv_lists, fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Row
from expllm.datasets.vocabularies import FER2013, FERPLUS
from expllm.errors import CallerError, Reject
from expllm.expressions import Expression
from expllm.photographs import MIN_SIDE_PX

VOTES = "fer2013new.csv"
_PIXELS = ("fer2013.csv", "icml_face_data.csv", "train.csv")
_PIXEL_COLUMNS = frozenset({"emotion", "pixels"})
_USAGE, _NAME = "Usage", "Image name"
_SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
_FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}


def pixel_list(path: Path) -> Path | None:
    """The CSV with pixels that a path names: itself, or the one in the folder."""
    return _first(path, _PIXELS, _PIXEL_COLUMNS)


def votes_list(path: Path) -> Path | None:
    """The CSV with FERPlus's votes that a path names: itself, or the one in the folder."""
    return _first(path, (VOTES,), frozenset((_USAGE, _NAME, *FERPLUS)))


def read_fer2013(file: Path) -> Iterator[Row]:
    """Read labels and pixels; pictures are named by the file and their row in it, from 1."""
    numbers = count(1)

    def row(label: str, pixels: str, usage: str = "") -> Row:
        return fields.assemble(
            split=_split(usage),
            expression=fields.numbered(label, FER2013),
            photo=f"{file}#{next(numbers)}",
            image=_png(pixels),
        )

    usage = [_USAGE] if _USAGE in csv_lists.header(file) else []
    return csv_lists.read(file, ("emotion", "pixels", *usage), row)


def read_ferplus(votes: Path) -> Iterator[Row]:
    """Read votes with FER2013's pixels beside them, or with the pictures in FER2013Train, -Valid and -Test.

    Raises:
        CallerError: there is neither, or the two files do not hold the same rows in the same order.
    """
    pixels = pixel_list(votes.parent)
    if pixels is not None:
        return _with_pixels(votes, pixels)
    folder = next((f for f in (votes.parent, votes.parent / "data") if (f / "FER2013Train").is_dir()), None)
    if folder is None:
        raise CallerError(f"{votes}: has no pictures; put fer2013.csv beside it")
    return csv_lists.read(votes, (_USAGE, _NAME, *FERPLUS), partial(_pictured, Files(folder)))


def _first(path: Path, names: tuple[str, ...], columns: frozenset[str]) -> Path | None:
    candidates = [path / name for name in names] if path.is_dir() else [path]
    return next(
        (
            file
            for file in candidates
            if file.suffix == ".csv" and file.is_file() and columns <= set(csv_lists.header(file))
        ),
        None,
    )


def _pictured(files: Files, usage: str, name: str, *votes: str) -> Row:
    return fields.assemble(
        split=_split(usage),
        expression=_elected(votes),
        photo=files.find(f"{_FOLDERS[usage]}/{name}") if usage in _FOLDERS else Reject.MALFORMED_ROW,
    )


def _with_pixels(votes: Path, pixels: Path) -> Iterator[Row]:
    def voted(usage: str, *cells: str) -> tuple[str, Expression | Reject]:
        return usage, _elected(cells)

    def drawn(usage: str, text: str) -> tuple[str, str]:
        return usage, text

    if _USAGE not in csv_lists.header(pixels):
        raise CallerError(
            f"{pixels}: has no column {_USAGE!r}, which tells that its rows are those of {VOTES}"
        )
    pairs = zip_longest(
        csv_lists.read(votes, (_USAGE, *FERPLUS), voted),
        csv_lists.read(pixels, (_USAGE, "pixels"), drawn),
    )
    for number, pair in enumerate(pairs, 1):
        match pair:
            case ((str(usage), label), (str(of_pixels), text)) if usage == of_pixels:
                photo = f"{pixels}#{number}"
                yield fields.assemble(split=_split(usage), expression=label, photo=photo, image=_png(text))
            case _:  # nothing tells from here on which votes are whose
                raise CallerError(
                    f"{votes}: row {number} is not that of {pixels.name}; both need the same rows in order"
                )


def _split(usage: str) -> str | Reject | None:
    return _SPLITS.get(usage, Reject.MALFORMED_ROW) if usage else None


def _elected(votes: Sequence[str]) -> Expression | Reject:
    """What more than half have voted for; single votes do not count, as in the authors' majority mode."""
    try:
        counts = {name: int(vote) for name, vote in zip(FERPLUS, votes, strict=True)}
    except ValueError:
        return Reject.MALFORMED_ROW
    counted = {name: count for name, count in counts.items() if count > 1}
    first = max(counted, key=counted.__getitem__, default=None)
    if first is None or 2 * counted[first] <= sum(counted.values()):
        return Reject.UNDECIDED
    return FERPLUS[first] or Reject.UNKNOWN_LABEL


def _png(text: str) -> bytes | Reject:
    """The grey picture that a row of numbers is."""
    try:
        values = np.fromstring(text, np.int64, sep=" ")
    except ValueError:
        return Reject.MALFORMED_PIXELS
    side = math.isqrt(values.size)
    is_square = side >= MIN_SIDE_PX and side * side == values.size
    # It stops, without a word, at what is no number.
    if not is_square or values.size != len(text.split()) or values.min() < 0 or values.max() > 255:
        return Reject.MALFORMED_PIXELS
    stored = BytesIO()
    pixels = values.astype(np.uint8).reshape(side, side)
    Image.fromarray(pixels).save(stored, "PNG", compress_level=0)  # packing would take longer than the rest
    return stored.getvalue()
