from collections import Counter

import pyarrow as pa
import pytest

from expllm.distributed import manifest, table
from expllm.distributed.verify import verify
from expllm.errors import CallerError, RunError
from expllm.tables import LABELS, MANIFEST


@pytest.fixture
def output(tmp_path):
    """Two photographs, one with two faces and one with none, all there."""
    promise(tmp_path, "run1", {"a": "1", "b": "1"})
    add(tmp_path, ("a", "1", 0), ("a", "1", 1), ("b", "1", None))
    return str(tmp_path)


def promise(output, run_id, tags):
    rows = [{"photo_uri": uri, "photo_etag": tag, "size_bytes": 1} for uri, tag in sorted(tags.items())]
    manifest.write(str(output), run_id, "input", pa.Table.from_pylist(rows, schema=MANIFEST))


def add(output, *keys):
    """Add rows; the rows of one photograph in one call say how many faces it has."""
    faces = Counter(uri for uri, _, face in keys if face is not None)
    rows = [
        {
            "photo_uri": uri,
            "photo_etag": tag,
            "face_index": face,
            "num_faces": faces[uri],
            "outcome": "labelled",
        }
        for uri, tag, face in keys
    ]
    committer = table.Committer(str(output), table.create(str(output)))
    committer.commit(pa.Table.from_pylist(rows, schema=LABELS), replaced=(), metadata={})


def test_an_output_that_keeps_its_promise_is_counted(output):
    found = verify(output)
    assert (found.num_photographs, found.num_faces) == (2, 2)


def test_a_photograph_that_is_missing_is_named(output):
    promise(output, "run2", {"a": "1", "b": "1", "new": "1"})
    with pytest.raises(RunError, match="1 photographs are not labelled yet: new;"):
        verify(output)


def test_a_photograph_that_changed_since_is_named(output):
    promise(output, "run2", {"a": "2"})
    with pytest.raises(RunError, match="1 photographs are not labelled yet: a;"):
        verify(output)


def test_a_row_that_no_manifest_promises_is_named(output):
    add(output, ("stray", "1", 0))
    with pytest.raises(RunError, match="stale or in no manifest: stray;"):
        verify(output)


@pytest.mark.parametrize("key", [("a", "1", 1), ("a", "1", None), ("b", "1", None), ("b", "1", 0)])
def test_a_photograph_that_is_there_twice_is_named(output, key):
    add(output, key)
    with pytest.raises(RunError, match=f"1 photographs are there more than once: {key[0]};"):
        verify(output)


@pytest.mark.parametrize("face", [0, 1, 2])
def test_a_face_whose_row_is_gone_is_named(output, face):
    promise(output, "run2", {"c": "1"})
    add(output, ("c", "1", 0), ("c", "1", 1), ("c", "1", 2))
    table.open_table(output).delete(f"photo_uri = 'c' AND face_index = {face}")
    with pytest.raises(RunError, match=rf"1 photographs are without the row of a face: c \(face {face}\);"):
        verify(output)


def test_a_photograph_of_an_earlier_run_still_counts(output):
    promise(output, "run2", {"a": "1"})
    assert verify(output).num_photographs == 2


def test_a_manifest_that_was_changed_is_refused(output, tmp_path):
    path = tmp_path / "manifest" / "run1.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match=r"run1\.parquet: was changed after it was sealed"):
        verify(output)


def test_a_manifest_without_its_seal_was_never_begun(output, tmp_path):
    promise(output, "run2", {"new": "1"})
    (tmp_path / "manifest" / "run2.json").unlink()
    assert verify(output).num_photographs == 2


def test_an_empty_folder_has_nothing_to_verify(tmp_path):
    with pytest.raises(CallerError, match="no labels are here"):
        verify(str(tmp_path))
