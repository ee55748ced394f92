import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from expllm import manifest
from expllm.tables import MANIFEST

PHOTOGRAPHS = st.lists(
    st.tuples(st.text(max_size=8), st.text(max_size=4), st.integers(0, 60)),
    max_size=60,
    unique_by=lambda p: p[0],
)


def table(*photographs):
    rows = [dict(zip(MANIFEST.names, photograph, strict=True)) for photograph in photographs]
    return pa.Table.from_pylist(rows, schema=MANIFEST)


def shards_of(photographs, size):
    return list(manifest.shards(table(*photographs), size))


def uris(shard):
    return shard.photographs["photo_uri"].to_pylist()


@given(PHOTOGRAPHS)
def test_a_photograph_listed_twice_counts_once(photographs):
    listed = table(*photographs, *photographs)
    sealed = manifest.seal(listed.to_batches(max_chunksize=7))
    assert sealed["photo_uri"].to_pylist() == sorted(p[0] for p in photographs)


def test_what_is_new_or_changed_is_pending():
    listed = table(("a", "1", 5), ("b", "1", 5), ("c", "2", 5))
    done = table(("a", "1", 5), ("c", "1", 5), ("gone", "1", 5))
    assert manifest.pending(listed, done)["photo_uri"].to_pylist() == ["b", "c"]


def test_what_changed_has_old_rows_that_must_give_way():
    done = table(("a", "1", 5), ("c", "1", 5))
    assert manifest.known(table(("b", "1", 5), ("c", "2", 5)), done["photo_uri"]) == {"c"}


def test_the_last_manifest_says_which_tag_a_photograph_has():
    first, second = table(("a", "1", 5), ("b", "1", 5)), table(("b", "2", 6))
    assert manifest.union([first, second]) == table(("a", "1", 5), ("b", "2", 6))


@given(PHOTOGRAPHS, st.integers(1, 20))
def test_every_photograph_is_in_exactly_one_shard(photographs, size):
    found = [uri for shard in shards_of(photographs, size) for uri in uris(shard)]
    assert sorted(found) == sorted(p[0] for p in photographs)


@given(PHOTOGRAPHS, st.integers(1, 20))
def test_no_shard_is_empty_or_much_too_large(photographs, size):
    assert all(1 <= shard.photographs.num_rows <= 2 * size for shard in shards_of(photographs, size))


@given(PHOTOGRAPHS, st.randoms())
def test_the_same_photographs_make_the_same_shards(photographs, random):
    shuffled = random.sample(photographs, len(photographs))
    identities = [[shard.shard_id for shard in shards_of(listed, 5)] for listed in (photographs, shuffled)]
    assert identities[0] == identities[1]


def test_copies_are_in_one_shard():
    photographs = [(f"{i}.jpg", f"{i}", 1000 + 13 * i) for i in range(500)]
    copies = [(f"copy of {uri}", "other", size) for uri, _, size in photographs]
    place = {
        uri: number for number, shard in enumerate(shards_of(photographs + copies, 20)) for uri in uris(shard)
    }
    assert all(place[uri] == place[f"copy of {uri}"] for uri, _, _ in photographs)


def test_shards_grow_with_the_input():
    assert [manifest.shard_size(n) for n in (1, 10_000, 10**9)] == [16, 39, 4096]
