"""Listed photographs -> sealed manifest -> what is left to do -> shards: pure functions over Arrow tables."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expllm.errors import TRANSIENT
from expllm.tables import MANIFEST

_KEY = ["photo_uri", "photo_etag"]
_MOST_ATTEMPTS = 3
"""What fails once may be the moment's fault; what fails in three runs is the photograph's, and stays so."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
"""Odd, close to 2**64 over the golden ratio: multiplying by it spreads neighbouring sizes over the shards."""


@dataclass(frozen=True)
class Shard:
    """The photographs whose rows are committed together."""

    shard_id: str
    photographs: pa.Table
    """Schema MANIFEST, sorted by tag and URI; never empty."""


def seal(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Sort listed photographs by URI; a photograph listed twice counts once."""
    listed = pa.Table.from_batches(batches, schema=MANIFEST).sort_by("photo_uri")
    if listed.num_rows < 2:
        return listed
    uris = listed["photo_uri"].combine_chunks()
    is_new = pc.not_equal(uris[1:], uris[:-1])
    return listed.filter(pa.concat_arrays([pa.array([True]), is_new]))


def pending(manifest: pa.Table, done: pa.Table) -> pa.Table:
    """The photographs of a manifest that `done` does not hold with the same URI and tag, sorted by URI."""
    left = manifest.join(done.select(_KEY), keys=_KEY, join_type="left anti")
    return left.select(MANIFEST.names).sort_by("photo_uri")


def whole(rows: pa.Table) -> pa.Table:
    """The photographs (URI and tag) whose rows are all there once: faces 0 to num_faces - 1, or one without.

    Args:
        rows: photo_uri, photo_etag, face_index and num_faces of a labels table. Rows from before the table
            had num_faces hold null, and are taken to have as many faces as their last says.
    """
    photo = _tallied(rows)
    first, last = photo["place_min"], photo["place_max"]
    end = pc.add(last, pa.scalar(1, pa.int16()))
    faces = pc.coalesce(photo["num_faces_max"], end)
    rows_due = pc.max_element_wise(faces, 1)
    claims = [
        pc.equal(photo["photo_etag_min"], photo["photo_etag_max"]),
        pc.equal(pc.coalesce(photo["num_faces_min"], end), faces),
        pc.equal(photo["count_all"], rows_due),
        pc.equal(photo["place_count_distinct"], rows_due),
        pc.equal(first, pc.subtract(pc.min_element_wise(faces, 1), 1)),
        pc.equal(last, pc.subtract(faces, 1)),
    ]
    found = photo.filter(pc.fill_null(reduce(pc.and_, claims), False))
    return found.select(["photo_uri", "photo_etag_min"]).rename_columns(_KEY)


def _tallied(rows: pa.Table) -> pa.Table:
    """One row a photograph: how many rows it has, and what they say; `place` is the face, -1 without one."""
    placed = rows.select([*_KEY, "num_faces"])
    placed = placed.append_column("place", pc.fill_null(rows["face_index"], -1))
    ends = [(name, end) for name in ("photo_etag", "num_faces", "place") for end in ("min", "max")]
    return placed.group_by("photo_uri").aggregate([*ends, ("place", "count_distinct"), ([], "count_all")])


def settled(rows: pa.Table) -> pa.Table:
    """The photographs of a labels table that need nothing more: whole, and not to be tried again."""
    return whole(rows).join(_to_retry(rows).select(_KEY), keys=_KEY, join_type="left anti")


def attempts(rows: pa.Table, photographs: pa.Table) -> dict[str, int]:
    """How often those of `photographs` that are to be tried again have been tried."""
    again = _to_retry(rows).join(photographs.select(_KEY), keys=_KEY, join_type="left semi")
    tried: dict[str, int] = {}
    for uri, count in zip(again["photo_uri"].to_pylist(), again["attempts"].to_pylist(), strict=True):
        tried[uri] = max(count, tried.get(uri, 0))
    return tried


def _to_retry(rows: pa.Table) -> pa.Table:
    is_transient = pc.is_in(rows["reject_reason"], value_set=pa.array(sorted(TRANSIENT), pa.string()))
    is_left = pc.and_(is_transient, pc.less(rows["attempts"], _MOST_ATTEMPTS))
    return rows.select([*_KEY, "attempts"]).filter(is_left)


def abandoned(promised: pa.Table, listed: pa.Table, rows: pa.Table) -> pa.Table:
    """What earlier manifests promise, the input no longer lists, and has no row yet."""
    unlisted = promised.join(listed.select(["photo_uri"]), keys="photo_uri", join_type="left anti")
    return pending(unlisted, rows)


def known(photographs: pa.Table, uris: pa.ChunkedArray) -> set[str]:
    """The URIs of `photographs` that are among `uris`: those whose old rows must give way."""
    is_known = pc.is_in(photographs["photo_uri"], value_set=uris)
    return set(photographs["photo_uri"].filter(is_known).to_pylist())


def union(manifests: Iterable[pa.Table]) -> pa.Table:
    """What several manifests promise together; where a photograph is in more than one, the last counts."""
    together = pa.Table.from_batches([], schema=MANIFEST)
    for manifest in manifests:
        kept = together.join(manifest.select(["photo_uri"]), keys="photo_uri", join_type="left anti")
        together = pa.concat_tables([kept.select(MANIFEST.names), manifest])
    return together.sort_by("photo_uri")


def shard_size(num_photographs: int) -> int:
    """How many photographs to commit together: few for a folder, thousands for a bucket of millions."""
    return min(4096, max(16, num_photographs // 256))


def shards(photographs: pa.Table, size: int) -> Iterator[Shard]:
    """Cut photographs into shards of about `size`, at most twice that.

    Equal bytes have equal sizes, so photographs of one size go to one shard, where copies are found
    without a word between shards. More of one size than a shard holds are cut in the order of their tags.
    """
    num_groups = max(1, photographs.num_rows // size)
    mixed = photographs["size_bytes"].to_numpy().astype(np.uint64) * _MIX
    group = (mixed >> np.uint64(32)) % np.uint64(num_groups)
    order = [(column, "ascending") for column in ("group", "size_bytes", "photo_etag", "photo_uri")]
    ordered = photographs.append_column("group", pa.array(group)).sort_by(order)
    ends = np.flatnonzero(np.diff(ordered["group"].to_numpy())) + 1
    ordered = ordered.select(MANIFEST.names)
    for begin, end in zip((0, *ends), (*ends, ordered.num_rows), strict=True):
        for start in range(int(begin), int(end), 2 * size):
            yield _shard(ordered.slice(start, min(2 * size, int(end) - start)))


def _shard(photographs: pa.Table) -> Shard:
    digest = hashlib.sha256()
    for column in _KEY:
        for value in photographs[column].to_pylist():
            digest.update(f"{len(value)}:{value}".encode())
    return Shard(digest.hexdigest()[:32], photographs)
