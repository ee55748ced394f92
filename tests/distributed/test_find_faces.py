import pytest

from expllm.distributed import faces
from expllm.errors import CallerError


def photograph(uri, size_bytes=1):
    return {"photo_uri": str(uri), "photo_etag": "1", "size_bytes": size_bytes, "shard_id": "s"}


def read(uri, size_bytes=1):
    return faces._read(photograph(uri, size_bytes)).data


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NoSuchKey", "missing_object"),
        ("AccessDenied", "denied_object"),
        ("PreconditionFailed", "changed_object"),
        ("InternalError", "unreadable_object"),
    ],
)
def test_an_object_that_is_not_to_be_had_costs_its_own_row(stubbed_store, code, reason):
    stubbed_store.add_client_error("get_object", code)
    assert read("s3://photos/a.jpg") == reason


def test_credentials_that_end_during_a_run_end_it(stubbed_store):
    stubbed_store.add_client_error("get_object", "ExpiredToken")
    with pytest.raises(CallerError, match="ExpiredToken"):
        read("s3://photos/a.jpg")


def test_an_object_too_large_for_memory_is_not_asked_for(tmp_path):
    assert read(tmp_path / "absent.jpg", 2**40) == "too_large"
    assert read(tmp_path / "absent.jpg") == "missing_object"


def test_large_photographs_are_read_few_at_a_time():
    sizes = [1] * 20 + [200 * 1024**2] * 3 + [1]
    chunks = list(faces._chunks([photograph(number, size) for number, size in enumerate(sizes)]))
    assert [len(chunk) for chunk in chunks] == [16, 5, 1, 2]
    assert [row["photo_uri"] for chunk in chunks for row in chunk] == [str(number) for number in range(24)]
