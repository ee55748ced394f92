"""A photograph's erasure: its rows, its places in manifests and old versions, and what keeps it away."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from expllm.distributed import listing, manifest, runs, storage, table
from expllm.errors import CallerError

_FOLDER = "forgotten"
_ERASED = "(forgotten)"
"""What stands for the INPUT of a run of whose photographs none is left."""


@dataclass(frozen=True)
class Forgotten:
    """What was erased."""

    num_photographs: int
    """Those that stood in the table or in a manifest."""
    num_rows: int
    num_unknown: int
    """Those that stood nowhere; they will not be labelled in time to come either."""


def named(photographs: Iterable[str], file: str | None) -> set[str]:
    """The URIs that a caller names, one by one or in a list as INPUT may be, as the table has them.

    Raises:
        CallerError: none is named, or the list cannot be read.
    """
    given = {uri if "://" in uri else storage.local_uri(storage.local_path(uri)) for uri in photographs}
    listed = set(listing.named_in(file)) if file else set()
    if not given | listed:
        raise CallerError("no photograph is named; give --photo URI or --photos FILE")
    return given | listed


def forget(output: str, photographs: Collection[str]) -> Forgotten:
    """Erase photographs from an output, so that no later run brings them back.

    Tombstones come first, the table last: what is broken off is done by the same call again. A run that is
    going on stops at its next commit. Copies under other URIs stay; so does the photograph itself.

    Raises:
        CallerError: there are no labels here, or the output cannot be written.
        RunError: the table cannot be read or written.
    """
    if table.open_table(output) is None:
        raise CallerError(f"{output}: no labels are here; check OUTPUT")
    _bury(output, photographs)
    known, emptied = _erase_from_manifests(output, photographs)
    _erase_from_runs(output, emptied)
    storage.delete(storage.join(output, "report.html"))  # it may show their faces
    erased = table.erase(output, photographs)
    known |= erased.keys()
    return Forgotten(len(known), sum(erased.values()), len(set(photographs) - known))


def unforgotten(output: str, photographs: pa.Table) -> pa.Table:
    """The rows of a manifest whose photographs were not erased from this output."""
    buried = _tombstones(output)
    if not buried:
        return photographs
    return photographs.filter(
        pa.array([_tombstone(uri) not in buried for uri in photographs["photo_uri"].to_pylist()], pa.bool_())
    )


def _tombstone(uri: str) -> str:
    """What is kept of a photograph, in place of its name: enough to know it again, and no more."""
    return hashlib.sha256(uri.encode()).hexdigest()


def _bury(output: str, photographs: Collection[str]) -> None:
    new = sorted({_tombstone(uri) for uri in photographs} - _tombstones(output))
    if new:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.txt"
        storage.write(storage.join(output, _FOLDER, name), "".join(f"{line}\n" for line in new).encode())


def _tombstones(output: str) -> set[str]:
    files = storage.children(storage.join(output, _FOLDER))
    return {line for file in files for line in storage.read(file.uri).decode().splitlines()}


def _erase_from_manifests(output: str, photographs: Collection[str]) -> tuple[set[str], set[str]]:
    """Replace each manifest that lists one of them; tell which were listed, and which runs have none left."""
    uris, found, emptied = pa.array(sorted(photographs), pa.string()), set[str](), set[str]()
    for seal in manifest.seals(output):
        listed = manifest.read(output, seal)
        is_gone = pc.is_in(listed["photo_uri"], value_set=uris)
        gone, left = listed.filter(is_gone), listed.filter(pc.invert(is_gone))
        if gone.num_rows:
            # Such a run's INPUT may have been the photograph itself.
            source = seal.source if left.num_rows else _ERASED
            manifest.supersede(output, replace(seal, source=source), left)
        if not left.num_rows:
            emptied.add(manifest.run_of(seal))
        found |= set(gone["photo_uri"].to_pylist())
    return found, emptied


def _erase_from_runs(output: str, run_ids: Collection[str]) -> None:
    for run_id in run_ids:
        place = storage.join(output, "runs", run_id, "config.json")
        if storage.stat(place) is not None:
            settings = json.loads(storage.read(place))
            runs.write(output, run_id, "config", {**settings, "input": _ERASED})
