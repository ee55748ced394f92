"""Photographs' bytes -> their faces, measured and cropped: labelling and serving both begin here."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from expllm import action_units
from expllm.action_units import Estimator
from expllm.errors import Reject
from expllm.faces import STANDARD, Cut, DetectedFace, area, iou
from expllm.models import landmarker
from expllm.models.decode_pool import DecodePool
from expllm.models.landmarker import Landmarker
from expllm.photographs import Photograph, photo_id

_DECODERS = 2
LEAST_OVERLAP = 0.2
"""Intersection over union with a data set's box from which on a face is the one that it means."""


def _digest() -> str:
    """Short hash over the files that decide which faces are found and what is measured on them."""
    digest = hashlib.sha256()
    for file in (landmarker.BUNDLED, action_units.BUNDLED):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


DETECTOR = f"mediapipe-face-landmarker-{_digest()}"
"""What the table's column `detector` says of faces found here; labels of another are refused or replaced."""


@dataclass(frozen=True)
class ReadFace:
    """One face, ready for the encoder."""

    columns: dict[str, Any]
    """What the labels table will hold of it and is known before the model has seen it."""
    crop: UInt8[np.ndarray, "size size 3"]


class FaceReader:
    """Decodes photographs, finds their faces, measures and crops them; for one thread at a time."""

    def __init__(self, decode_timeout_s: float, cut: Cut = STANDARD) -> None:
        self._cut = cut
        self._decoders = DecodePool(_DECODERS, decode_timeout_s)
        self._landmarker = Landmarker()
        self._estimator = Estimator.load()

    def read(self, photos: Sequence[bytes]) -> list[list[ReadFace] | Reject]:
        """Read photographs side by side, in their order: the faces of each from the left, or its reject."""
        decoded = self._decoders.decode(photos)
        return [
            photograph if isinstance(photograph, Reject) else self._faces(photo_id(data), photograph)
            for data, photograph in zip(photos, decoded, strict=True)
        ]

    def _faces(self, photo: str, photograph: Photograph) -> list[ReadFace]:
        return [
            ReadFace(
                {**_columns(photo, index, face), "action_units": self._estimator.estimate(face)},
                self._cut.out_of(photograph.pixels, face.landmarks_px * photograph.scale),
            )
            for index, face in enumerate(self._landmarker.detect(photograph))
        ]


def _columns(photo: str, index: int, face: DetectedFace) -> dict[str, Any]:
    return {
        "photo_id": photo,
        "detector": DETECTOR,
        "face_index": index,
        "face_id": f"{photo}-{index}",
        "box_px": list(face.box_px),
        "detection_score": face.score,
        "yaw_deg": face.yaw_deg,
        "pitch_deg": face.pitch_deg,
        "roll_deg": face.roll_deg,
    }


def meant(found: Sequence[ReadFace], box_px: Sequence[float] | None) -> ReadFace | None:
    """The face that lies where a box is, or without a box the largest one; None where there is no such face.

    Args:
        box_px: As a data set gives it: left, top, right, bottom.
    """
    if box_px is None:
        return max(found, key=lambda face: area(tuple(face.columns["box_px"])), default=None)
    left, top, right, bottom = box_px

    def overlap(face: ReadFace) -> float:
        return iou(tuple(face.columns["box_px"]), (left, top, right, bottom))

    best = max(found, key=overlap, default=None)
    return None if best is None or overlap(best) < LEAST_OVERLAP else best
