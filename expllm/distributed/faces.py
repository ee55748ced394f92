"""A shard's photographs -> one row a face, with its crop, and one for each photograph without any."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from expllm.distributed import originals
from expllm.errors import Reject
from expllm.faces import Cut
from expllm.models.face_reader import DETECTOR, FaceReader, ReadFace
from expllm.photographs import photo_id

FOUND_FACES = pa.schema(
    [
        ("shard_id", pa.string()),
        ("photo_uri", pa.string()),
        ("num_faces", pa.int16()),
        ("face_index", pa.int16()),
        ("known", pa.string()),
        ("crop", pa.binary()),
    ]
)
"""What leaves this stage. `known` is JSON: what the table's row will hold of it, with two keys more where
there is no face: `reject`, why the photograph cannot be used, and `copy_of`, the photograph of the same
shard that has the same bytes. Where there is no face, `num_faces` is 0 and `crop` empty."""

_READ_AHEAD = 16
"""Photographs that are read while those before them are looked at; fewer where they are large."""
_READ_AHEAD_BYTES = 256 * 1024**2
_MOST_BYTES = 256 * 1024**2
"""Larger objects are no photographs: they would fill the memory before they are looked at."""
_THREADS = 16


@dataclass(frozen=True)
class _Read:
    """One photograph as far as its bytes tell."""

    shard_id: str
    known: dict[str, Any]
    data: bytes | Reject

    def row(self, **more: Any) -> dict[str, Any]:
        """A row without a face, unless told more."""
        place = {"shard_id": self.shard_id, "photo_uri": self.known["photo_uri"]}
        return {**place, "num_faces": 0, "face_index": 0, "crop": b"", **more}

    def faceless(self, **why: str) -> dict[str, Any]:
        return self.row(known=json.dumps({**self.known, **why}))


class FindFaces:
    """Reads, decodes and searches photographs; one wrong photograph costs its own row."""

    def __init__(self, decode_timeout_s: float, cut: Cut) -> None:
        self._threads = ThreadPoolExecutor(_THREADS)
        self._reader = FaceReader(decode_timeout_s, cut)

    def __call__(self, photographs: pa.Table) -> Iterator[pa.Table]:
        """Give the rows of each few photographs as they are done."""
        listed = photographs.to_pylist()
        chunks = list(_chunks(listed))
        ahead = [self._threads.map(_read, chunk) for chunk in chunks[:1]]
        first_of: dict[tuple[str, str], str] = {}
        for number in range(len(chunks)):
            ahead += [self._threads.map(_read, chunk) for chunk in chunks[number + 1 : number + 2]]
            read = list(ahead.pop(0))
            yield pa.Table.from_pylist(list(self._rows(read, first_of)), schema=FOUND_FACES)

    def _rows(self, read: list[_Read], first_of: dict[tuple[str, str], str]) -> Iterator[dict[str, Any]]:
        originals = []
        for one in read:
            if isinstance(one.data, Reject):
                yield one.faceless(reject=one.data)
                continue
            uri = one.known["photo_uri"]
            first = first_of.setdefault((one.shard_id, one.known["photo_id"]), uri)
            if first == uri:
                originals.append(one)
            else:
                yield one.faceless(copy_of=first)
        found = self._reader.read([one.data for one in originals])
        for one, photo_faces in zip(originals, found, strict=True):
            yield from _outcome(one, photo_faces)


def _outcome(one: _Read, found: list[ReadFace] | Reject) -> Iterator[dict[str, Any]]:
    if isinstance(found, Reject):
        yield one.faceless(reject=found)
    elif not found:
        yield one.faceless()
    else:
        for index, face in enumerate(found):
            known = json.dumps({**one.known, **face.columns})
            yield one.row(num_faces=len(found), face_index=index, known=known, crop=face.crop.tobytes())


def _chunks(listed: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut photographs into groups that are read together: few, and not more bytes than memory holds."""
    chunk: list[dict[str, Any]] = []
    size_bytes = 0
    for one in listed:
        size_bytes += one["size_bytes"]
        if chunk and (len(chunk) == _READ_AHEAD or size_bytes > _READ_AHEAD_BYTES):
            yield chunk
            chunk, size_bytes = [], one["size_bytes"]
        chunk.append(one)
    if chunk:
        yield chunk


def _read(listed: Mapping[str, Any]) -> _Read:
    known = {"photo_uri": listed["photo_uri"], "photo_etag": listed["photo_etag"], "detector": DETECTOR}
    data = _data(listed)
    if not isinstance(data, Reject):
        known["photo_id"] = photo_id(data)
    return _Read(listed["shard_id"], known, data)


def _data(listed: Mapping[str, Any]) -> bytes | Reject:
    if listed["size_bytes"] > _MOST_BYTES:
        return Reject.TOO_LARGE
    return originals.read_photograph(listed["photo_uri"], listed["photo_etag"])
