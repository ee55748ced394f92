"""Sealed manifests and the table -> whether every photograph is accounted for exactly once."""

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from expllm.distributed import manifest, table
from expllm.errors import CallerError, RunError
from expllm.manifest import pending, whole

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
        RunError: a photograph is missing, stale, unlisted or there twice, or the row of one of its faces is;
            the line names the first few.
    """
    promised = manifest.promised(output)
    labels = table.open_table(output)
    if labels is None or not manifest.seals(output):
        raise CallerError(f"{output}: no labels are here; run `expllm label INPUT {output}` first")
    found = table.keys(labels)
    again = "run `expllm label` again, with the same INPUT"
    _refuse("not labelled yet", set(pending(promised, found)["photo_uri"].to_pylist()), again)
    _refuse("stale or in no manifest", set(_unlisted(found, promised).to_pylist()), again)
    lacking, repeated = _misnumbered(found)
    _refuse("without the row of a face", lacking, again)
    _refuse("there more than once", repeated, again)
    outcomes = {row["values"]: row["counts"] for row in pc.value_counts(found["outcome"]).to_pylist()}
    return Verified(
        num_photographs=promised.num_rows,
        num_faces=pc.count(found["face_index"]).as_py(),
        outcomes=dict(sorted(outcomes.items())),
    )


def _unlisted(found: pa.Table, promised: pa.Table) -> pa.ChunkedArray:
    key = ["photo_uri", "photo_etag"]
    return found.select(key).join(promised.select(key), keys=key, join_type="left anti")["photo_uri"]


def _misnumbered(found: pa.Table) -> tuple[set[str], set[str]]:
    """Photographs that lack faces, with the faces' numbers, and those with a row too many."""
    key = ["photo_uri"]
    broken = found.join(whole(found).select(key), keys=key, join_type="left anti")
    due: dict[str, int] = {}
    present: dict[str, set[int]] = defaultdict(set)
    for row in broken.select(["photo_uri", "face_index", "num_faces"]).to_pylist():
        uri, face, faces = row.values()
        present[uri] |= set() if face is None else {face}
        due[uri] = max(due.get(uri, 0), faces or 0, max(present[uri], default=-1) + 1)
    missing = {uri: sorted(set(range(count)) - present[uri]) for uri, count in due.items()}
    lacking = {f"{uri} (face {', '.join(map(str, faces))})" for uri, faces in missing.items() if faces}
    return lacking, {uri for uri, faces in missing.items() if not faces}


def _refuse(what: str, photographs: set[str], remedy: str) -> None:
    names = sorted(photographs)
    if names:
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise RunError(f"{len(names)} photographs are {what}: {shown}; {remedy}")
