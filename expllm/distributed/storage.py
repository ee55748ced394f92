"""URIs -> objects: the one factory for local folders and S3, with every failure named in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from expllm.errors import CallerError, RunError

_GONE = frozenset({"404", "NoSuchKey", "NotFound", "InvalidObjectState"})
_DENIED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
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


class ObjectGone(Exception):
    """The store answers, and says that it has no such object (or that the file cannot be read)."""


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


@cache
def session() -> boto3.Session:
    """One session a process: endpoint, region and credentials as the AWS settings say."""
    return boto3.Session()


@cache
def client() -> Any:
    """One S3 client a process."""
    retries = {"mode": "adaptive", "total_max_attempts": 8}
    config = Config(retries=retries, connect_timeout=5, read_timeout=60, max_pool_connections=64)
    return session().client("s3", config=config)


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
    bucket, key = bucket_and_key(uri)
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
    except OSError:
        return None
    if not path.is_file():
        return None
    return StoredObject(uri, f"{status.st_size:x}-{status.st_mtime_ns:x}", status.st_size)


def read(uri: str) -> bytes:
    """Read an object's bytes.

    Raises:
        ObjectGone: this one object cannot be read. A store that cannot be reached raises CallerError.
    """
    if not is_s3(uri):
        try:
            return local_path(uri).read_bytes()
        except OSError as error:
            raise ObjectGone(uri) from error
    bucket, key = bucket_and_key(uri)
    with naming(uri):
        for attempt in range(_READ_ATTEMPTS):
            try:
                return bytes(client().get_object(Bucket=bucket, Key=key)["Body"].read())
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                if attempt == _READ_ATTEMPTS - 1:
                    raise
    raise AssertionError("every attempt returns or raises")


def write(uri: str, data: bytes) -> None:
    """Write an object whole or not at all."""
    if is_s3(uri):
        bucket, key = bucket_and_key(uri)
        with naming(uri):
            client().put_object(Bucket=bucket, Key=key, Body=data)
        return
    path = local_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    partial.write_bytes(data)
    partial.replace(path)


def delete(uri: str) -> None:
    """Delete an object; one that is not there is deleted already."""
    if not is_s3(uri):
        local_path(uri).unlink(missing_ok=True)
        return
    bucket, key = bucket_and_key(uri)
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
    try:
        write(probe, b"")
        delete(probe)
    except (OSError, ObjectGone) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such bucket"
        raise CallerError(f"{output}: cannot be written ({reason}); name a folder that can") from error


def filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow filesystem of a URI and the path on it, for streaming reads."""
    if not is_s3(uri):
        return pafs.LocalFileSystem(), str(local_path(uri))
    settings = _settings()
    scheme, _, endpoint = settings.endpoint.rpartition("://")
    return (
        pafs.S3FileSystem(
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            session_token=settings.session_token,
            region=settings.region,
            endpoint_override=endpoint or None,
            scheme=scheme or "https",
        ),
        uri.removeprefix("s3://"),
    )


def delta_options(uri: str) -> dict[str, str]:
    """What delta-rs needs to see the same store as the client; ask again for each use, credentials expire."""
    if not is_s3(uri):
        return {}
    settings = _settings()
    options = {
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "AWS_SESSION_TOKEN": settings.session_token,
        "AWS_REGION": settings.region,
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_ALLOW_HTTP": "true" if settings.endpoint.startswith("http://") else None,
        "conditional_put": "etag",
    }
    return {key: value for key, value in options.items() if value}


@dataclass(frozen=True)
class _Settings:
    endpoint: str
    """Empty for AWS itself."""
    region: str
    access_key: str | None
    secret_key: str | None
    session_token: str | None


def _settings() -> _Settings:
    endpoint = client().meta.endpoint_url
    held = session().get_credentials()
    if held is None:
        raise CallerError("S3: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    frozen = held.get_frozen_credentials()
    return _Settings(
        endpoint="" if endpoint.endswith("amazonaws.com") else endpoint,
        region=client().meta.region_name or "us-east-1",
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token,
    )


@contextmanager
def naming(uri: str) -> Iterator[None]:
    """Turn the S3 client's errors into one line that names the URI and the cause."""
    try:
        yield
    except NoCredentialsError as error:
        raise CallerError(
            f"{uri}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except EndpointConnectionError as error:
        raise CallerError(f"{uri}: cannot connect to the store; check AWS_ENDPOINT_URL") from error
    except ClientError as error:
        raise _named(uri, str(error.response.get("Error", {}).get("Code", ""))) from error
    except BotoCoreError as error:
        raise RunError(f"{uri}: the store failed: {type(error).__name__}") from error


def _named(uri: str, code: str) -> Exception:
    if code == "NoSuchBucket":
        return CallerError(f"{uri}: there is no bucket {bucket_and_key(uri)[0]!r}; check the name")
    if code in _GONE:
        return ObjectGone(uri)
    if code in _DENIED:
        return CallerError(f"{uri}: access denied ({code}); check the credentials and the bucket's policy")
    return RunError(f"{uri}: the store answered {code}")
