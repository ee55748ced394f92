"""Labelled faces -> the face of each in its photograph, measured and cropped, as labelling measures it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from expllm.distributed import originals
from expllm.distributed.faces import FOUND_FACES
from expllm.errors import Reject
from expllm.exp_cot.instructions import NoText
from expllm.faces import Cut
from expllm.models.face_reader import FaceReader, ReadFace, meant

LABELLED = pa.schema([("known", pa.string()), ("image", pa.binary())])
"""What enters: `known` is JSON of instructions.described, `image` the bytes of a photograph or null."""


class MeasureFaces:
    """Reads photographs and finds in each the face that the data set means; others are left out."""

    def __init__(self, decode_timeout_s: float, cut: Cut) -> None:
        self._reader = FaceReader(decode_timeout_s, cut)

    def __call__(self, labelled: pa.Table) -> pa.Table:
        """Rows of LABELLED into faces.FOUND_FACES, in the same order.

        `known` holds the columns of tables.INSTRUCTIONS that are known, with two more: `reject_reason`,
        where the face cannot be had, and else `action_units`, as landmarks give them.
        """
        rows = labelled.to_pylist()
        listed = [json.loads(row["known"]) for row in rows]
        photos = _photos(listed, [row["image"] for row in rows])
        whole = {photo: data for photo, data in photos.items() if not isinstance(data, Reject)}
        found: dict[str, list[ReadFace] | Reject] = {p: d for p, d in photos.items() if isinstance(d, Reject)}
        found.update(zip(whole, self._reader.read(list(whole.values())), strict=True))
        return pa.Table.from_pylist([_row(one, found[one["photo"]]) for one in listed], schema=FOUND_FACES)


def _photos(listed: Sequence[Mapping[str, Any]], images: Sequence[bytes | None]) -> dict[str, bytes | Reject]:
    """The bytes of each photograph once, however many of its faces are labelled."""
    given = {one["photo"]: image for one, image in zip(listed, images, strict=True)}
    return {
        photo: originals.read_photograph(photo) if image is None else image for photo, image in given.items()
    }


def _row(known: Mapping[str, Any], found: list[ReadFace] | Reject) -> dict[str, Any]:
    face = found if isinstance(found, Reject) else meant(found, known["box_px"]) or NoText.NOT_FOUND
    place = {"shard_id": "", "photo_uri": known["photo"], "face_index": 0}
    if isinstance(face, Reject | NoText):
        return {**place, "num_faces": 0, "known": json.dumps({**known, "reject_reason": face}), "crop": b""}
    measured = {column: face.columns[column] for column in ("photo_id", "box_px", "action_units")}
    return {**place, "num_faces": 1, "known": json.dumps({**known, **measured}), "crop": face.crop.tobytes()}
