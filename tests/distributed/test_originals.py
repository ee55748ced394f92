"""Photographs in tar files, and photographs that are not what was listed."""

import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from expllm.distributed import listing, originals, storage
from expllm.distributed.store_errors import ObjectChanged
from expllm.errors import CallerError

PHOTOGRAPHS = {"000/a.jpg": b"first", "000/b.PNG": b"second one", "c.webp": b"x" * 20_000}


@pytest.fixture(params=["folder", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("s3")
    return f"s3://photos/tar{time.time_ns()}"


def tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def listed(source: str) -> list[tuple[str, str]]:
    rows = [row for batch in listing.list_photographs(source) for row in batch.to_pylist()]
    return [(row["photo_uri"], row["photo_etag"]) for row in rows]


def test_a_tar_file_is_listed_and_its_photographs_are_read_in_place(folder: str) -> None:
    uri = storage.join(folder, "photos.tar")
    storage.write(uri, tar({**PHOTOGRAPHS, "notes.txt": b"no photograph"}))
    found = {name.partition("#")[2]: originals.read(name, etag) for name, etag in listed(uri)}
    assert found == PHOTOGRAPHS


def test_a_glob_takes_every_tar_file(folder: str) -> None:
    for number in range(2):
        storage.write(storage.join(folder, f"shard-{number}.tar"), tar(PHOTOGRAPHS))
    assert len({name for name, _ in listed(storage.join(folder, "*.tar"))}) == 6


def test_a_tar_file_that_has_changed_is_not_read_for_the_old_one(folder: str) -> None:
    uri = storage.join(folder, "photos.tar")
    storage.write(uri, tar(PHOTOGRAPHS))
    (name, etag), *_ = listed(uri)
    storage.write(uri, tar({"new.jpg": b"other", **PHOTOGRAPHS}))
    assert originals.read_photograph(name, etag) == "changed_object"
    assert dict(listed(uri))[name] != etag


def test_an_object_that_has_changed_is_told_apart(folder: str) -> None:
    uri = storage.join(folder, "a.jpg")
    storage.write(uri, b"one")
    found = storage.stat(uri)
    storage.write(uri, b"another")
    assert found is not None
    with pytest.raises(ObjectChanged):
        storage.read(uri, found.etag)
    assert storage.read(uri) == b"another"


@pytest.mark.parametrize(
    "data", [b"no tar file, but as long as some blocks of one" * 40, tar(PHOTOGRAPHS)[:9000]]
)
def test_what_is_no_whole_tar_file_is_refused(folder: str, data: bytes) -> None:
    uri = storage.join(folder, "photos.tar")
    storage.write(uri, data)
    with pytest.raises(CallerError, match=r"photos.tar: is no whole tar file"):
        listed(uri)


def test_tar_files_in_a_folder_are_not_taken_unasked(folder: str) -> None:
    storage.write(storage.join(folder, "photos.tar"), tar(PHOTOGRAPHS))
    with pytest.raises(CallerError, match=r"name tar files as \*.tar"):
        listed(folder)
