"""OUTPUT's table, runs and, if asked for, photographs -> OUTPUT/report.html."""

import heapq
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib.resources import files
from itertools import groupby
from operator import add, itemgetter
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from expllm import tables
from expllm.distributed import originals, storage, table
from expllm.errors import CallerError, Reject
from expllm.models.decode_pool import DecodePool
from expllm.photographs import Photograph, photo_id
from expllm.report import Run, render, tally
from expllm.report.tally import COLUMNS_READ
from expllm.report.thumbnails import thumbnail

_DECODE_TIMEOUT_S = 20.0


def write(output: str, *, out: str | None = None, thumbnails: bool = False, gallery: int = 48) -> str:
    """Write the report of an output and say where it is.

    Args:
        out: Where to write; OUTPUT/report.html by default.
        thumbnails: Put small pictures of the gallery's faces into the page; without, it holds no pixels.
        gallery: Most faces that the gallery shows, the first by photograph and face.

    Raises:
        CallerError: there are no labels here, or `out` cannot be written.
        RunError: the table cannot be read.
    """
    labels = table.open_table(output)
    if labels is None:
        raise CallerError(f"{output}: no labels are here; run `expllm label INPUT {output}` first")
    rows = _gallery_rows(labels, gallery)
    runs = _runs(output)
    page = render(
        reduce(add, map(tally, table.scan(labels, COLUMNS_READ)), tally(tables.LABELS.empty_table())),
        rows,
        runs,
        title=_name(output),
        model_card=_model_card(runs),
        thumbnails=_thumbnails(rows) if thumbnails else None,
    )
    place = out or storage.join(output, "report.html")
    storage.write(place, page.encode())
    return place


def _name(output: str) -> str:
    place = output if storage.is_s3(output) else storage.local_uri(Path(output))
    return place.rstrip("/").rsplit("/", 1)[-1]


def _gallery_rows(labels: DeltaTable, most: int) -> list[dict[str, Any]]:
    is_labelled = "outcome = 'labelled'"
    first: list[tuple[str, int]] = []
    for batch in table.scan(labels, ("photo_uri", "face_index"), is_labelled):
        keys = zip(batch["photo_uri"].to_pylist(), batch["face_index"].to_pylist(), strict=True)
        first = heapq.nsmallest(most, (*first, *keys))
    if not first:
        return []
    named = ", ".join("'{}'".format(uri.replace("'", "''")) for uri in sorted({uri for uri, _ in first}))
    batches = table.scan(labels, tables.LABELS.names, f"{is_labelled} AND photo_uri IN ({named})")
    rows = [row for batch in batches for row in batch.to_pylist()]
    chosen = set(first)
    key = itemgetter("photo_uri", "face_index")
    return sorted((row for row in rows if key(row) in chosen), key=key)


def _runs(output: str) -> list[Run]:
    """Read the JSON documents of each run, the oldest run first: run ids begin with their time."""
    folder = storage.join(output, "runs")
    found = [found.uri for found in storage.children(folder) if found.uri.endswith(".json")]
    by_run = groupby(sorted(found), key=lambda uri: uri.rsplit("/", 2)[1])
    return [
        Run(run_id, {Path(uri).stem: json.loads(storage.read(uri)) for uri in uris})
        for run_id, uris in by_run
    ]


def _model_card(runs: Sequence[Run]) -> Mapping[str, Any] | None:
    """Find the card of the last run's model, a bundled one or a checkpoint folder; None where it is gone."""
    name = next((model for run in reversed(runs) if isinstance(model := run.find("model"), str)), None)
    if name is None:
        return None
    for folder in (Path(str(files("expllm"))) / "data" / name, Path(name)):
        if (folder / "card.json").is_file():
            card: Mapping[str, Any] = json.loads((folder / "card.json").read_text())
            return card
    return None


def _thumbnails(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """Cut the faces out of their photographs; one that is gone or has changed since gives none."""
    pictures: dict[tuple[str, int], str] = {}
    with DecodePool(1, _DECODE_TIMEOUT_S) as pool:
        for uri, faces in groupby(rows, key=itemgetter("photo_uri")):
            of_photograph = list(faces)
            photograph = _photograph(of_photograph[0], pool)
            if photograph is not None:
                for face in of_photograph:
                    pictures[uri, face["face_index"]] = thumbnail(photograph, tuple(face["box_px"]))
    return pictures


def _photograph(row: Mapping[str, Any], pool: DecodePool) -> Photograph | None:
    data = originals.read_photograph(row["photo_uri"], row["photo_etag"] or "")
    if isinstance(data, Reject) or photo_id(data) != row["photo_id"]:
        return None
    (decoded,) = pool.decode([data])
    return decoded if isinstance(decoded, Photograph) else None
