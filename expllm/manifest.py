"""Listed photographs -> sealed manifest -> what is left to do -> shards: pure functions over Arrow tables."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expllm.tables import MANIFEST

_KEY = ["photo_uri", "photo_etag"]
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
