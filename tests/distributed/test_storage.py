import os

import pytest
from botocore.stub import Stubber

from expllm.distributed import storage
from expllm.distributed.store_errors import ObjectDenied, ObjectFailed, ObjectGone
from expllm.errors import CallerError


def test_what_is_written_to_s3_is_read_back(s3):
    storage.write("s3://photos/round/a.txt", b"bytes")
    assert storage.read("s3://photos/round/a.txt") == b"bytes"


def test_a_listing_goes_on_to_its_last_page(s3):
    for number in range(1010):
        storage.write(f"s3://photos/pages/{number:05}.jpg", b"")
    assert len(list(storage.list_objects("s3://photos/pages/"))) == 1010


def test_listing_and_asking_give_the_same_tag(s3):
    storage.write("s3://photos/tags/a b+c=é.jpg", b"x")
    (listed,) = storage.list_objects("s3://photos/tags/")
    assert storage.stat(listed.uri) == listed


def test_a_changed_file_has_another_tag(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    before = storage.stat(str(path))
    path.write_bytes(b"two!")
    assert storage.stat(str(path)).etag != before.etag


def test_a_name_that_is_not_utf8_has_a_uri_that_is(tmp_path):
    path = tmp_path / "caf\udce9.jpg"
    path.write_bytes(b"x")
    uri = storage.local_uri(path)
    assert uri.encode().startswith(b"file://")
    assert storage.read(uri) == b"x"


@pytest.mark.parametrize("folder", ["{tmp}", "s3://photos/gone"])
def test_an_object_that_is_gone_is_told_apart(s3, tmp_path, folder):
    with pytest.raises(ObjectGone):
        storage.read(folder.format(tmp=tmp_path) + "/nothing.jpg")


def test_a_missing_bucket_is_named(s3):
    with pytest.raises(CallerError, match=r"there is no bucket 'absent'; check the name"):
        list(storage.list_objects("s3://absent/faces"))


def test_a_refused_key_is_named(s3, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(CallerError, match=r"s3://photos/x: access denied"):
        list(storage.list_objects("s3://photos/x"))


def test_a_store_that_does_not_answer_is_named(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(CallerError, match=r"cannot connect to the store; check AWS_ENDPOINT_URL"):
        list(storage.list_objects("s3://photos/x"))


def test_an_output_that_may_only_be_read_is_refused_before_work(s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.reader[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.reader[1])
    with pytest.raises(CallerError, match=r"s3://photos/out.*access denied"):
        storage.check_writable("s3://photos/out")


def test_an_output_below_a_file_is_refused_before_work(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CallerError, match=r"cannot be written \(Not a directory|File exists\)"):
        storage.check_writable(str(tmp_path / "file" / "out"))


def test_probing_an_output_leaves_nothing(s3, tmp_path):
    for output in (str(tmp_path / "out"), "s3://photos/probed"):
        storage.check_writable(output)
        assert storage.children(output) == []


@pytest.fixture
def offline(monkeypatch):
    """A client whose answers a test gives itself."""
    for name in ("AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_client()
    yield monkeypatch
    forget_client()


def forget_client():
    storage.session.cache_clear()
    storage.client.cache_clear()


@pytest.mark.parametrize(
    ("code", "status", "kind", "exit_code"),
    [
        ("NoSuchKey", 404, ObjectGone, 1),
        ("AccessDenied", 403, ObjectDenied, 2),
        ("InternalError", 500, ObjectFailed, 1),
        ("KeyTooLongError", 400, ObjectFailed, 1),
    ],
)
def test_one_object_that_is_not_to_be_had_is_told_apart(offline, code, status, kind, exit_code):
    with Stubber(storage.client()) as store, pytest.raises(kind, match=r"^s3://photos/a.jpg: ") as raised:
        store.add_client_error("get_object", code, http_status_code=status)
        storage.read("s3://photos/a.jpg")
    assert raised.value.exit_code == exit_code


@pytest.mark.parametrize("code", ["ExpiredToken", "SignatureDoesNotMatch", "NoSuchBucket"])
def test_what_no_object_would_get_past_is_no_objects_fault(offline, code):
    with Stubber(storage.client()) as store, pytest.raises(CallerError) as raised:
        store.add_client_error("get_object", code, http_status_code=403)
        storage.read("s3://photos/a.jpg")
    assert not isinstance(raised.value, ObjectFailed)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ENDPOINT_URL", "localhost", r"^S3: Invalid endpoint: localhost; check .*http://host:port"),
        (
            "AWS_PROFILE",
            "nobody",
            r"^S3: The config profile \(nobody\) could not be found; check AWS_PROFILE",
        ),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(offline, name, value, message):
    offline.setenv(name, value)
    with pytest.raises(CallerError, match=message):
        list(storage.list_objects("s3://photos/"))


def test_a_name_that_no_bucket_can_have_is_named(offline):
    with pytest.raises(
        CallerError, match=r"^s3://My_Bucket!/: 'My_Bucket!' cannot be a bucket; check the name$"
    ):
        list(storage.list_objects("s3://My_Bucket!/"))


@pytest.mark.parametrize("work", [storage.read, storage.stat, lambda uri: storage.write(uri, b"")])
def test_a_bucket_is_no_object(offline, work):
    with pytest.raises(CallerError, match="names a bucket and no object"):
        work("s3://photos")


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "folder" / "within").mkdir(parents=True)
    with pytest.raises(
        CallerError, match=r"folder: cannot be written \(Is a directory\); name a place that can"
    ):
        storage.write(str(tmp_path / "folder"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ObjectGone):
        storage.read(str(tmp_path / "pipe.jpg"))
