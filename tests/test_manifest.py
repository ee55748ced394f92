import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import manifest
from expllm.tables import LABELS, MANIFEST

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


def rows(*faces, num_faces=None, **more):
    keys = [dict(zip(("photo_uri", "photo_etag", "face_index"), face, strict=True)) for face in faces]
    return pa.Table.from_pylist([{**key, "num_faces": num_faces, **more} for key in keys], schema=LABELS)


def is_whole(*faces, num_faces):
    return manifest.whole(rows(*faces, num_faces=num_faces)).num_rows == 1


@given(st.integers(0, 6), st.data())
def test_a_photograph_is_whole_with_every_row_once_and_only_then(num_faces, data):
    full = [("a", "1", face) for face in range(num_faces)] or [("a", "1", None)]
    assert is_whole(*full, num_faces=num_faces)
    one = data.draw(st.sampled_from(full))
    less = [face for face in full if face != one]
    assert not is_whole(*less, num_faces=num_faces)
    assert not is_whole(*full, one, num_faces=num_faces)
    assert not is_whole(*less, ("a", "1", 9), num_faces=num_faces)
    assert not is_whole(*less, ("a", "2", one[2]), num_faces=num_faces) or len(full) == 1


def test_rows_from_before_their_number_was_kept_are_judged_by_their_last():
    assert is_whole(("a", "1", 0), ("a", "1", 1), num_faces=None)
    assert is_whole(("a", "1", None), num_faces=None)
    assert not is_whole(("a", "1", 1), num_faces=None)


@pytest.mark.parametrize(
    ("reason", "attempts", "is_settled"),
    [
        (None, 1, True),
        ("corrupt", 1, True),
        ("unreadable_object", 1, False),
        ("decoder_died", 2, False),
        ("generation_failed", 3, True),
    ],
)
def test_what_failed_for_a_moment_is_settled_after_three_attempts(reason, attempts, is_settled):
    found = rows(("a", "1", None), num_faces=0, reject_reason=reason, attempts=attempts)
    assert (manifest.settled(found).num_rows == 1) is is_settled
    assert manifest.attempts(found, table(("a", "1", 5))) == ({} if is_settled else {"a": attempts})


def test_a_changed_photograph_begins_its_attempts_anew():
    found = rows(("a", "1", None), num_faces=0, reject_reason="decoder_died", attempts=2)
    assert manifest.attempts(found, table(("a", "2", 5))) == {}


def test_what_was_promised_and_is_listed_no_more_is_left_unless_it_has_a_row():
    promised = table(("done", "1", 5), ("gone", "1", 5), ("listed", "1", 5))
    left = manifest.abandoned(promised, table(("listed", "2", 5)), rows(("done", "1", 0)))
    assert left["photo_uri"].to_pylist() == ["gone"]
