"""URIs -> objects: the one factory for local folders and S3, with every failure named in one line."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from expllm.distributed.store_errors import BROKEN_OFF, ObjectChanged, ObjectGone, naming
from expllm.errors import CallerError, RunError

_READ_ATTEMPTS = 3
"""Tries of a GET whose body breaks off; the client itself retries only until the body begins."""


@dataclass(frozen=True)
class StoredObject:
    """One object of a store: the tag changes whenever its bytes do.

    A local file has no tag of its own: its size and modification time in nanoseconds stand for one.
    An object that is not there has an empty tag.
    """

    uri: str
    etag: str
    size_bytes: int


def is_s3(uri: str) -> bool:
    """Whether a URI names something in S3; everything else is a local path."""
    return uri.startswith("s3://")


def join(uri: str, *names: str) -> str:
    """Put names below a folder or prefix."""
    return "/".join((uri.rstrip("/"), *names))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Split an S3 URI; the key may be empty and is not unquoted."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise CallerError(f"{uri}: names no bucket; write s3://bucket/prefix")
    return bucket, key


def local_path(uri: str) -> Path:
    """The path of a local URI; `file://` is for names that are not UTF-8 and cannot stand in a table."""
    return Path(unquote(urlsplit(uri).path, errors="surrogateescape") if uri.startswith("file://") else uri)


def local_uri(path: Path) -> str:
    """Name a local file: its absolute path, or a quoted `file://` URI where that is not UTF-8."""
    absolute = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return Path(absolute).as_uri()
    return absolute


def _object(uri: str) -> tuple[str, str]:
    bucket, key = bucket_and_key(uri)
    if not key:
        raise CallerError(f"{uri}: names a bucket and no object; write s3://bucket/key")
    return bucket, key


@cache
def session() -> boto3.Session:
    """One session a process: endpoint, region and credentials as the AWS settings say."""
    return boto3.Session()


@cache
def client() -> Any:
    """One S3 client a process.

    Raises:
        CallerError: the AWS settings make no sense.
    """
    retries = {"mode": "adaptive", "total_max_attempts": 8}
    config = Config(retries=retries, connect_timeout=5, read_timeout=60, max_pool_connections=64)
    try:
        return session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise CallerError(
            f"S3: {reason}; check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL (http://host:port)"
        ) from error


def list_objects(prefix: str) -> Iterator[StoredObject]:
    """List an S3 prefix to its end, page by page; a page that lacks its continuation is an error."""
    bucket, key = bucket_and_key(prefix)
    token: dict[str, str] = {}
    with naming(prefix):
        while True:
            page = client().list_objects_v2(Bucket=bucket, Prefix=key, **token)
            for item in page.get("Contents", ()):
                yield StoredObject(f"s3://{bucket}/{item['Key']}", item["ETag"].strip('"'), item["Size"])
            if not page["IsTruncated"]:
                return
            if not page.get("NextContinuationToken"):
                raise RunError(f"{prefix}: the store says that the listing goes on, and not where")
            token = {"ContinuationToken": page["NextContinuationToken"]}


def stat(uri: str) -> StoredObject | None:
    """Ask for one object's tag and size; None where there is no such object."""
    if not is_s3(uri):
        return _stat_file(uri)
    bucket, key = _object(uri)
    try:
        with naming(uri):
            found = client().head_object(Bucket=bucket, Key=key)
    except ObjectGone:
        return None
    return StoredObject(uri, found["ETag"].strip('"'), found["ContentLength"])


def _stat_file(uri: str) -> StoredObject | None:
    path = local_path(uri)
    try:
        status = path.stat()
    except (OSError, ValueError):  # the second: a name that no file can have
        return None
    if not path.is_file():
        return None
    return StoredObject(uri, f"{status.st_size:x}-{status.st_mtime_ns:x}", status.st_size)


def check_readable(uri: str) -> None:
    """Ask the store for an object and leave its bytes there; raises as `read` does."""
    if not is_s3(uri):
        if _stat_file(uri) is None:
            raise ObjectGone.at(uri)
        return
    bucket, key = _object(uri)
    with naming(uri):
        client().get_object(Bucket=bucket, Key=key)["Body"].close()


def read(uri: str, etag: str = "", part: tuple[int, int] | None = None) -> bytes:
    """Read an object's bytes.

    Args:
        etag: The tag it was listed with: an object that has changed since is refused. "" takes any.
        part: Where to begin, and how many bytes to read; None for all.

    Raises:
        ObjectFailed: this one object cannot be read. A store that cannot be reached raises CallerError.
    """
    if not is_s3(uri):
        return _read_file(uri, etag, part)
    bucket, key = _object(uri)
    asked = {"IfMatch": etag} if etag else {}
    if part is not None:
        asked["Range"] = f"bytes={part[0]}-{part[0] + part[1] - 1}"
    with naming(uri):
        for attempt in range(_READ_ATTEMPTS):
            try:
                return bytes(client().get_object(Bucket=bucket, Key=key, **asked)["Body"].read())
            except BROKEN_OFF:
                if attempt == _READ_ATTEMPTS - 1:
                    raise
    raise AssertionError("every attempt returns or raises")


@contextmanager
def opened(uri: str) -> Iterator[IO[bytes]]:
    """An object's bytes from the beginning on, as a stream that cannot go back."""
    if not is_s3(uri):
        with local_path(uri).open("rb") as file:
            yield file
        return
    bucket, key = _object(uri)
    with naming(uri), closing(client().get_object(Bucket=bucket, Key=key)["Body"]) as body:
        yield body


def _read_file(uri: str, etag: str, part: tuple[int, int] | None) -> bytes:
    found = _stat_file(uri)
    if found is None:  # a pipe, for one, would be waited for
        raise ObjectGone.at(uri)
    if etag and found.etag != etag:
        raise ObjectChanged.at(uri)
    start, size = part or (0, -1)
    try:
        with local_path(uri).open("rb") as file:
            file.seek(start)
            return file.read(size)
    except OSError as error:
        raise ObjectGone.at(uri) from error


def write(uri: str, data: bytes) -> None:
    """Write an object whole or not at all.

    Raises:
        CallerError: it may not be written, or there is no room for it.
    """
    if is_s3(uri):
        bucket, key = _object(uri)
        with naming(uri):
            client().put_object(Bucket=bucket, Key=key, Body=data)
        return
    with _naming_output(uri):
        _write_file(local_path(uri), data)


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _naming_output(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CallerError(f"{output}: cannot be written ({error.strerror}); name a place that can") from error


def upload(file: Path, uri: str) -> None:
    """Write a file of any size as an object of S3."""
    bucket, key = _object(uri)
    with naming(uri), file.open("rb") as data:
        client().upload_fileobj(data, bucket, key)


def download(uri: str, file: Path) -> None:
    """Write an object of S3, of any size, into a file."""
    bucket, key = _object(uri)
    with naming(uri), file.open("wb") as data:
        client().download_fileobj(bucket, key, data)


def delete(uri: str) -> None:
    """Delete an object; one that is not there is deleted already."""
    if not is_s3(uri):
        local_path(uri).unlink(missing_ok=True)
        return
    bucket, key = _object(uri)
    with naming(uri):
        client().delete_object(Bucket=bucket, Key=key)


def children(folder: str) -> list[StoredObject]:
    """The objects directly or deeper below a folder or prefix, sorted; empty where it does not exist."""
    if is_s3(folder):
        return list(list_objects(join(folder, "")))
    files = sorted(path for path in local_path(folder).rglob("*") if path.is_file())
    return [found for path in files if (found := stat(local_uri(path))) is not None]


def check_writable(output: str) -> None:
    """Refuse an output that cannot be written, before any work, by writing and deleting an empty object."""
    probe = join(output, f".expllm-probe-{uuid4().hex}")
    if is_s3(output):
        write(probe, b"")
        delete(probe)
        return
    with _naming_output(output):
        _write_file(local_path(probe), b"")
        delete(probe)
