"""Labelled faces of a part -> the same found, cut out and measured, as a Parquet file of examples."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expllm.distributed import storage
from expllm.distributed.measure import MeasureFaces
from expllm.faces import Cut
from expllm.facs import Intensities
from expllm.tables import EXAMPLES

MADE = pa.schema([("part", pa.int64()), ("listed", pa.int64()), ("rows", pa.int64())])
"""What is told of each part that was written: its number, the faces that were listed, those that it has."""
_AT_ONCE = 32
"""Photographs that are read and measured together."""


@dataclass(frozen=True)
class Part:
    """Where one part of the examples lies, and its count: that is written last, and says it is whole."""

    folder: str
    number: int

    @property
    def rows_uri(self) -> str:
        """The Parquet file, of the schema EXAMPLES."""
        return storage.join(self.folder, f"part-{self.number:06}.parquet")

    @property
    def count_name(self) -> str:
        """The name of the count's file, JSON: `rows`, and `rejected` by reason."""
        return f"part-{self.number:06}.json"


class MakeExamples:
    """Reads the photographs of a part and writes its file; one wrong photograph costs its own row.

    Args:
        cut: How the model that is trained wants faces cut out, with its margin.
        model: Whose encoder's evidence is joined with what landmarks measure; None for landmarks alone.
    """

    def __init__(self, folder: str, cut: Cut, model: str | None, device: str, timeout_s: float) -> None:
        from expllm.models.checkpoint import resolve
        from expllm.models.encoder import Encoder  # torch: here alone, not where parts are only named

        self._folder, self._cut = folder, cut
        self._measure = MeasureFaces(timeout_s, cut)
        self._encoder = None if model is None else Encoder(resolve(model), device)

    def __call__(self, listed: pa.Table) -> pa.Table:
        """All rows of a part, of measure.LABELLED, into one row of MADE."""
        (number,) = {json.loads(known)["part"] for known in listed["known"].to_pylist()}
        rejected: Counter[str] = Counter()
        rows = list(self._rows(listed, rejected))
        part = Part(self._folder, number)
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=EXAMPLES), data, compression="zstd")
        storage.write(part.rows_uri, data.getvalue())
        storage.write(
            storage.join(part.folder, part.count_name),
            json.dumps({"rows": len(rows), "rejected": rejected}).encode(),
        )
        made = {"part": number, "listed": listed.num_rows, "rows": len(rows)}
        return pa.Table.from_pylist([made], schema=MADE)

    def _rows(self, listed: pa.Table, rejected: Counter[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, listed.num_rows, _AT_ONCE):
            found = self._measure(listed.slice(start, _AT_ONCE)).to_pylist()
            known = [json.loads(row["known"]) for row in found]
            rejected.update(one["reject_reason"] for one in known if "reject_reason" in one)
            seen = [(row["crop"], one) for row, one in zip(found, known, strict=True) if row["num_faces"]]
            measured = self._measured([crop for crop, _ in seen], [one["action_units"] for _, one in seen])
            for (crop, one), units in zip(seen, measured, strict=True):
                yield self._row(crop, one, units)

    def _measured(self, crops: Sequence[bytes], by_landmarks: Sequence[Intensities]) -> Sequence[Intensities]:
        """The movements as labelling with the model measures them."""
        if self._encoder is None:
            return by_landmarks
        stored, margin = self._cut.stored_px, self._cut.margin_px
        pixels = np.frombuffer(b"".join(crops), np.uint8).reshape(-1, stored, stored, 3)
        inner = slice(margin, stored - margin)
        return self._encoder.read(pixels[:, inner, inner], by_landmarks)[1]

    def _row(self, crop: bytes, known: Mapping[str, Any], measured: Intensities) -> dict[str, Any]:
        told = {column: known.get(column) for column in EXAMPLES.names}
        truth = {"measured": measured, "action_units": known["true_units"]}
        return {**told, **truth, "crop": crop, "crop_px": self._cut.stored_px}
