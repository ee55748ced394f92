"""Pictures -> the one face of each that all models of a benchmark are asked about."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from expllm import photographs
from expllm.errors import Reject
from expllm.faces import Box, area
from expllm.facs import Intensities
from expllm.models.face_reader import FaceReader
from expllm.photographs import Photograph

_TIMEOUT_S = 20


@dataclass(frozen=True)
class Seen:
    """The largest face of a picture, as the label job finds it, and the picture around it."""

    pixels: UInt8[np.ndarray, "height width 3"]
    box_px: Box
    """In the coordinates of `pixels`."""
    crop: UInt8[np.ndarray, "112 112 3"]
    action_units: Intensities
    """As measured, not the true ones."""


def see(files: Iterable[Path]) -> Iterator[Seen | None]:
    """Find the face of each picture; None where none is found."""
    reader = FaceReader(_TIMEOUT_S)
    for file in files:
        yield _seen(reader, file.read_bytes())


def _seen(reader: FaceReader, data: bytes) -> Seen | None:
    (found,) = reader.read([data])
    photograph = photographs.decode(data)
    if isinstance(found, Reject) or not isinstance(photograph, Photograph) or not found:
        return None
    face = max(found, key=lambda one: area(tuple(one.columns["box_px"])))
    left, top, right, bottom = (edge * photograph.scale for edge in face.columns["box_px"])
    return Seen(photograph.pixels, (left, top, right, bottom), face.crop, face.columns["action_units"])
