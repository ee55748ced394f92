"""Intensities in the terms of ARKit and FEAFA into the table's FACS columns."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from expllm.errors import CallerError
from expllm.facs import COLUMNS

_Key = TypeVar("_Key", int, str)

ARKIT_TO_FACS: dict[str, tuple[str, ...]] = {
    "au01": ("browInnerUp",),
    "au02": ("browOuterUpLeft", "browOuterUpRight"),
    "au04": ("browDownLeft", "browDownRight"),
    "au05": ("eyeWideLeft", "eyeWideRight"),
    "au06": ("cheekSquintLeft", "cheekSquintRight"),
    "au07": ("eyeSquintLeft", "eyeSquintRight"),
    "au09": ("noseSneerLeft", "noseSneerRight"),
    "au10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "au12": ("mouthSmileLeft", "mouthSmileRight"),
    "au12_left": ("mouthSmileLeft",),
    "au12_right": ("mouthSmileRight",),
    "au14_left": ("mouthDimpleLeft",),
    "au14_right": ("mouthDimpleRight",),
    "au15": ("mouthFrownLeft", "mouthFrownRight"),
    "au16": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "au17": ("mouthShrugLower",),
    "au18": ("mouthPucker",),
    "au20": ("mouthStretchLeft", "mouthStretchRight"),
    "au22": ("mouthFunnel",),
    "au24": ("mouthPressLeft", "mouthPressRight"),
    "au26": ("jawOpen",),
    "au28": ("mouthRollUpper", "mouthRollLower"),
    "au43": ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""FACS column -> the ARKit units that show it; 23, 25 and 27 have no unit of their own."""

FEAFA_SIZE = 24
"""Length of a FEAFA vector."""

FEAFA_TO_FACS: dict[str, tuple[int, ...]] = {
    "au01": (6, 7),
    "au02": (6, 7),
    "au04": (4, 5),
    "au05": (2, 3),
    "au09": (23,),
    "au10": (18,),
    "au12": (11, 12),
    "au12_left": (11,),
    "au12_right": (12,),
    "au16": (19,),
    "au17": (20,),
    "au18": (21,),
    "au20": (13, 14),
    "au26": (8,),
    "au28": (15, 16),
    "au43": (0, 1),
}
"""FACS column -> the FEAFA indices that show it.

FEAFA raises the brow as a whole; its jaw slides (9, 10), jaw thrust (17) and cheek puff (22) have no column.
"""


def from_feafa(values: Sequence[float]) -> dict[str, float | None]:
    """Give the FACS columns of a FEAFA vector: the mean of the indices that show each, else None.

    Args:
        values: 24 intensities 0..1 in FEAFA's order (left before right, eye close first, nose wrinkle last).
    """
    if len(values) != FEAFA_SIZE:
        raise CallerError(f"A FEAFA vector has {FEAFA_SIZE} intensities, not {len(values)}.")
    return _columns(dict(enumerate(values)), FEAFA_TO_FACS)


def from_arkit(blendshapes: Mapping[str, float]) -> dict[str, float | None]:
    """Give the FACS columns of ARKit blendshapes: the mean of the units that show each.

    None where no unit shows a column, or where one that does is not given.
    """
    return _columns(blendshapes, ARKIT_TO_FACS)


def _columns(
    values: Mapping[_Key, float], shown_by: Mapping[str, tuple[_Key, ...]]
) -> dict[str, float | None]:
    sources = {column: shown_by.get(column, ()) for column in COLUMNS}
    return {
        column: float(np.mean([values[key] for key in keys]))
        if keys and all(k in values for k in keys)
        else None
        for column, keys in sources.items()
    }
