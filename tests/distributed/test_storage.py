import pytest

from expllm.distributed import storage
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
    with pytest.raises(storage.ObjectGone):
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


def test_arrow_sees_the_same_store(s3):
    storage.write("s3://photos/arrow/a.bin", b"seen")
    filesystem, path = storage.filesystem("s3://photos/arrow/a.bin")
    with filesystem.open_input_stream(path) as stream:
        assert stream.read() == b"seen"
