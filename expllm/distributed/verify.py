"""Sealed manifests and the table -> whether every photograph is accounted for exactly once."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from expllm.distributed import manifest, table
from expllm.errors import CallerError, RunError
from expllm.manifest import pending

_SHOWN = 3


@dataclass(frozen=True)
class Verified:
    """What a table that keeps its promise holds."""

    num_photographs: int
    num_faces: int
    outcomes: dict[str, int]


def verify(output: str) -> Verified:
    """Compare the table with every sealed manifest of its output.

    Raises:
        CallerError: there is no run to verify.
        RunError: a photograph is missing, stale, unlisted or there twice; the line names the first few.
    """
    promised = manifest.promised(output)
    labels = table.open_table(output)
    if labels is None or not manifest.seals(output):
        raise CallerError(f"{output}: no labels are here; run `expllm label INPUT {output}` first")
    found = table.keys(labels)
    _refuse("not labelled yet", pending(promised, found)["photo_uri"], "run `expllm label` again")
    _refuse("stale or in no manifest", _unlisted(found, promised), "run `expllm label` again")
    _refuse("there more than once", _repeated(found), "restore an earlier version of the table")
    outcomes = {row["values"]: row["counts"] for row in pc.value_counts(found["outcome"]).to_pylist()}
    return Verified(
        num_photographs=promised.num_rows,
        num_faces=pc.count(found["face_index"]).as_py(),
        outcomes=dict(sorted(outcomes.items())),
    )


def _unlisted(found: pa.Table, promised: pa.Table) -> pa.ChunkedArray:
    key = ["photo_uri", "photo_etag"]
    return found.select(key).join(promised.select(key), keys=key, join_type="left anti")["photo_uri"]


def _repeated(found: pa.Table) -> pa.ChunkedArray:
    """Photographs with one face number twice, or with a row for "no face" beside others."""
    numbered = found.group_by(["photo_uri", "face_index"]).aggregate([([], "count_all")])
    twice = numbered.filter(pc.greater(numbered["count_all"], 1))["photo_uri"]
    photo = found.group_by("photo_uri").aggregate([([], "count_all"), ("face_index", "count")])
    faceless = pc.and_(
        pc.greater(photo["count_all"], 1), pc.less(photo["face_index_count"], photo["count_all"])
    )
    return pa.chunked_array([*twice.chunks, *photo.filter(faceless)["photo_uri"].chunks], type=pa.string())


def _refuse(what: str, uris: pa.ChunkedArray, remedy: str) -> None:
    names = sorted(set(uris.to_pylist()))
    if names:
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise RunError(f"{len(names)} photographs are {what}: {shown}; {remedy}")
