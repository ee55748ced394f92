"""Single values of a data set's row -> what they mean, or the reason why the row cannot be used."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from expllm.datasets.labelled import LabelledFace, Rejected, Row
from expllm.errors import Reject
from expllm.expressions import Expression, read_expression
from expllm.faces import Box
from expllm.facs import COLUMNS, Intensities

_Meaning = TypeVar("_Meaning")

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def assemble(split: str | Reject | None = None, **fields: Any) -> Row:
    """The face that these fields of LabelledFace describe; the first that is a Reject rejects the row."""
    if isinstance(split, Reject):
        return Rejected(split)
    for value in fields.values():
        if isinstance(value, Reject):
            return Rejected(value, split)
    return LabelledFace(split=split, **fields)


def numbered(label: object, numbering: Mapping[float, _Meaning]) -> _Meaning | Reject:
    """What a data set means by a number, which may be text."""
    number = _number(label)
    return Reject.UNKNOWN_LABEL if number is None else numbering.get(number, Reject.UNKNOWN_LABEL)


def worded(label: object) -> Expression | Reject | None:
    """The expression that a word names; None where there is no word."""
    word = text(label)
    return None if word is None else read_expression(word) or Reject.UNKNOWN_LABEL


def corners(values: Sequence[object]) -> Box | Reject:
    """The box of left, top, right and bottom."""
    match _numbers(values):
        case [left, top, right, bottom] if left < right and top < bottom:
            return left, top, right, bottom
    return Reject.MALFORMED_BOX


def sides(values: Sequence[object]) -> Box | Reject:
    """The box of left, top, width and height."""
    match _numbers(values):
        case [left, top, width, height] if width > 0 and height > 0:
            return left, top, left + width, top + height
    return Reject.MALFORMED_BOX


def box_px(value: object) -> Box | Reject | None:
    """The box of a list of four numbers, or of a text of them; None where there is none."""
    if value is None or isinstance(value, str):
        parts = re.findall(r"[^\s,;\[\]()]+", value or "")
        return corners(parts) if parts else None
    return corners(value) if isinstance(value, Sequence) else Reject.MALFORMED_BOX


def action_units(units: object) -> Intensities | Reject | None:
    """The intensities that a mapping holds under the table's names; None where it holds none."""
    if not isinstance(units, Mapping):
        return Reject.MALFORMED_UNITS
    intensities: dict[str, float | None] = dict.fromkeys(COLUMNS)
    for column in COLUMNS:
        intensity = share(units.get(column))
        if isinstance(intensity, Reject):
            return Reject.MALFORMED_UNITS
        intensities[column] = intensity
    return intensities if any(value is not None for value in intensities.values()) else None


def share(value: object) -> float | Reject | None:
    """A number from 0 to 1; None where there is none."""
    if _is_empty(value):
        return None
    number = _number(value)
    return Reject.MALFORMED_ROW if number is None or not 0 <= number <= 1 else number


def split(value: object) -> str | Reject | None:
    """The split that a word names; None where there is no word."""
    word = text(value)
    return None if word is None else _SPLITS.get(word.lower(), Reject.MALFORMED_ROW)


def split_in(name: str) -> str | None:
    """The split that a part of a file's or folder's name tells; None where none or several do."""
    told = {_SPLITS[part] for part in re.split(r"[^a-z]+", name.lower()) if part in _SPLITS}
    return told.pop() if len(told) == 1 else None


def text(value: object) -> str | None:
    """A value as text without blanks around it; None where nothing is left."""
    if _is_empty(value):
        return None
    if isinstance(value, float) and value.is_integer():  # a data frame's whole number beside a missing one
        value = int(value)
    return str(value).strip() or None


def _number(value: object) -> float | None:
    return next(iter(_numbers((value,))), None)


def _numbers(values: Sequence[object]) -> list[float]:
    """The values as finite numbers; none at all where one is not."""
    try:
        numbers = [float(value) for value in values]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value != value  # NaN is how data frames write that there is none
