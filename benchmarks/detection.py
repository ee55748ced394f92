"""Pictures -> the one face of each that all models of a benchmark are asked about."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float16, UInt8

from expllm import photographs
from expllm.errors import Reject
from expllm.faces import Box, area
from expllm.facs import Intensities
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from expllm.models.face_reader import FaceReader
from expllm.photographs import Photograph

_TIMEOUT_S = 20


@dataclass(frozen=True)
class Seen:
    """The largest face of a picture, as the label job finds it, and the picture around it."""

    pixels: UInt8[np.ndarray, "height width 3"]
    box_px: Box
    """In the coordinates of `pixels`."""
    crop: UInt8[np.ndarray, "size size 3"]
    features: Float16[np.ndarray, "tokens width"]
    by_landmarks: Intensities
    """The action units that landmarks give."""
    action_units: Intensities
    """As labelling measures them: by landmarks and features."""


def see(files: Iterable[Path], model: str) -> Iterator[Seen | None]:
    """Find the face of each picture and encode it as a model does; None where none is found."""
    checkpoint = resolve(model)
    reader, encoder = FaceReader(_TIMEOUT_S, checkpoint.preprocessing.cut), Encoder(checkpoint)
    for file in files:
        yield _seen(reader, encoder, file.read_bytes())


def _seen(reader: FaceReader, encoder: Encoder, data: bytes) -> Seen | None:
    (found,) = reader.read([data])
    photograph = photographs.decode(data)
    if isinstance(found, Reject) or not isinstance(photograph, Photograph) or not found:
        return None
    face = max(found, key=lambda one: area(tuple(one.columns["box_px"])))
    left, top, right, bottom = (edge * photograph.scale for edge in face.columns["box_px"])
    by_landmarks: Intensities = face.columns["action_units"]
    features, joined = encoder.read(face.crop[None], [by_landmarks])
    box_px = (left, top, right, bottom)
    return Seen(photograph.pixels, box_px, face.crop, features[0], by_landmarks, joined[0])
