"""Labelled faces and their photographs -> each face as the model is asked about it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from expllm.datasets import LabelledFace
from expllm.errors import Reject
from expllm.evaluation.answers import SeenFace
from expllm.evaluation.asking import Shown
from expllm.faces import Box
from expllm.models.checkpoint import Checkpoint
from expllm.models.encoder import Encoder
from expllm.models.face_reader import FaceReader, ReadFace, meant

_BATCH = 16
"""Photographs that are read and encoded together."""


def see(
    faces: Sequence[LabelledFace],
    photos: Iterable[bytes | Reject],
    checkpoint: Checkpoint,
    *,
    timeout_s: float,
    device: str = "cpu",
) -> Iterator[Shown]:
    """Find each labelled face in its photograph and encode it, in order, as the label job does.

    Args:
        photos: The photographs' bytes, or why there are none; they are taken a few at a time.
        timeout_s: What decoding a photograph may take.
    """
    reader, encoder = FaceReader(timeout_s, checkpoint.preprocessing.cut), Encoder(checkpoint, device)
    both = zip(faces, photos, strict=True)
    while batch := list(islice(both, _BATCH)):
        found = iter(reader.read([photo for _, photo in batch if isinstance(photo, bytes)]))
        chosen = [
            (face, photo if isinstance(photo, Reject) else _chosen(next(found), face.box_px))
            for face, photo in batch
        ]
        encoded = iter(_encoded([one for _, one in chosen if isinstance(one, ReadFace)], encoder))
        for face, one in chosen:
            yield Shown(face, next(encoded) if isinstance(one, ReadFace) else one)


def _chosen(found: list[ReadFace] | Reject, box_px: Box | None) -> ReadFace | Reject | None:
    return found if isinstance(found, Reject) else meant(found, box_px)


def _encoded(read: list[ReadFace], encoder: Encoder) -> Iterator[SeenFace]:
    if not read:
        return
    crops = np.stack([one.crop for one in read])
    features, joined = encoder.read(crops, [one.columns["action_units"] for one in read])
    for one, of_face, measured in zip(read, features, joined, strict=True):
        yield SeenFace(one.crop, measured, of_face)
