"""The engine's results, in any order -> whole shards of table rows."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from expllm.errors import Reject
from expllm.expressions import Expression
from expllm.labels import Answer, Row, label_face, photograph_row

EXPLAIN = "explain"
LABEL = "label"

RESULTS = pa.schema(
    [
        ("shard_id", pa.string()),
        ("photo_uri", pa.string()),
        ("num_faces", pa.int16()),
        ("face_index", pa.int16()),
        ("known", pa.string()),
        ("question", pa.string()),
        ("text", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("generated_tokens", pa.int32()),
        ("label_logprobs", pa.string()),
        ("error", pa.string()),
    ]
)
"""What leaves the engine: two rows a face, one for each question, and one a photograph without a face.

`known` is as in faces.FOUND_FACES, on the rows of EXPLAIN and of photographs; `question` is empty without
a face; `label_logprobs` is JSON, expression to log probability; `error` is empty where the engine answered.
"""


@dataclass
class _Photo:
    """What has come of one photograph: its rows by face and question."""

    num_faces: int
    results: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.results) == max(1, 2 * self.num_faces)


class Gathering:
    """Holds what has come of each unfinished shard, and gives a shard's rows when the last of it comes."""

    def __init__(self, num_photographs: Mapping[str, int], temperature: float) -> None:
        self._missing = dict(num_photographs)
        self._photos: dict[str, dict[str, _Photo]] = defaultdict(dict)
        self._temperature = temperature
        self.num_photographs = 0
        """Photographs that are whole, also of shards that are not."""
        self.num_faces = 0
        """The faces that were found in them."""

    @property
    def num_unfinished(self) -> int:
        """Shards that have not been given yet."""
        return len(self._missing)

    def add(self, result: Mapping[str, Any]) -> list[Row] | None:
        """Take one row of RESULTS; the whole shard's table rows when it was the last, else None.

        A result that comes twice, as after the loss of a worker, counts once.
        """
        shard = result["shard_id"]
        if shard not in self._missing:
            return None
        photo = self._photos[shard].setdefault(result["photo_uri"], _Photo(result["num_faces"]))
        if photo.is_whole:
            return None
        photo.results[result["face_index"], result["question"]] = result
        if photo.is_whole:
            self._missing[shard] -= 1
            self.num_photographs += 1
            self.num_faces += photo.num_faces
        if self._missing[shard]:
            return None
        del self._missing[shard]
        return _rows(self._photos.pop(shard), self._temperature)


def _rows(photos: Mapping[str, _Photo], temperature: float) -> list[Row]:
    rows = {uri: _photo_rows(photo, temperature) for uri, photo in photos.items() if not _copy_of(photo)}
    for photo in photos.values():
        original = _copy_of(photo)
        if original:
            known = _known(photo)
            own = {"photo_uri": known["photo_uri"], "photo_etag": known["photo_etag"]}
            rows[known["photo_uri"]] = [{**row, **own} for row in rows[original]]
    return [row for uri in sorted(rows) for row in rows[uri]]


def _photo_rows(photo: _Photo, temperature: float) -> list[Row]:
    if not photo.num_faces:
        known = {**_known(photo), "num_faces": 0}
        return [photograph_row(known, Reject(known["reject"]) if "reject" in known else None)]
    return [
        label_face(
            {**json.loads(photo.results[face, EXPLAIN]["known"]), "num_faces": photo.num_faces},
            _answer(photo.results[face, EXPLAIN], photo.results[face, LABEL]),
            temperature=temperature,
        )
        for face in range(photo.num_faces)
    ]


def _known(photo: _Photo) -> dict[str, Any]:
    (result,) = photo.results.values()
    known: dict[str, Any] = json.loads(result["known"])
    return known


def _copy_of(photo: _Photo) -> str | None:
    return None if photo.num_faces else _known(photo).get("copy_of")


def _answer(explained: Mapping[str, Any], labelled: Mapping[str, Any]) -> Answer | Reject:
    if explained["error"] or labelled["error"]:
        return Reject.GENERATION_FAILED
    return Answer(
        text=explained["text"],
        prompt_tokens=explained["prompt_tokens"],
        generated_tokens=explained["generated_tokens"],
        label_logprobs={
            Expression(expression): logprob
            for expression, logprob in json.loads(labelled["label_logprobs"]).items()
        },
    )
