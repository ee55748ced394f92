"""Photographs where they lie: objects of their own, or members of tar files, which are read in place."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from expllm.distributed import storage
from expllm.distributed.storage import StoredObject
from expllm.distributed.store_errors import ObjectChanged, ObjectDenied, ObjectFailed, ObjectGone
from expllm.errors import CallerError, Reject, RunError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""What counts as a photograph in a folder, prefix or tar file, in any case; lists and globs name theirs."""
_ARCHIVE = ".tar"
_MEMBER = re.compile(r"(?P<archive>.+?\.tar)#(?P<name>.+)", re.IGNORECASE | re.DOTALL)
_PLACE = re.compile(r"(?P<etag>.*)@(?P<start>\d+)\+(?P<size>\d+)")
_ATTEMPTS = 3
"""Tries of a tar file whose body breaks off while it is listed."""
_REASONS: tuple[tuple[type[ObjectFailed], Reject], ...] = (
    (ObjectGone, Reject.MISSING_OBJECT),
    (ObjectDenied, Reject.DENIED_OBJECT),
    (ObjectChanged, Reject.CHANGED_OBJECT),
    (ObjectFailed, Reject.UNREADABLE_OBJECT),
)


def is_photograph(name: str) -> bool:
    """Whether a name is a photograph's, by its end."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def is_archive(name: str) -> bool:
    """Whether a name is a tar file's; compressed ones cannot be read in part."""
    return PurePosixPath(name).suffix.lower() == _ARCHIVE


def members(archive: StoredObject) -> list[StoredObject]:
    """List the photographs in a tar file, which is read once from its beginning to its end.

    A member is named `photos.tar#folder/a.jpg`. Its tag is the tar file's and its place there, so that it
    can be read alone, and is read anew where the tar file has changed.

    Raises:
        CallerError: it is no tar file, or ends too early.
        RunError: the store does not give it.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return list(_members(archive))
        except tarfile.TarError as error:
            raise CallerError(f"{archive.uri}: is no whole tar file ({error}); check it") from error
        except (OSError, ObjectFailed) as error:
            if attempt == _ATTEMPTS - 1 or isinstance(error, ObjectGone | ObjectDenied):
                raise RunError(f"{archive.uri}: cannot be listed: {error}") from error
    raise AssertionError("every attempt returns or raises")


def _members(archive: StoredObject) -> Iterator[StoredObject]:
    with storage.opened(archive.uri) as body, tarfile.open(fileobj=body, mode="r|") as tar:
        end = 0
        for member in tar:
            end = member.offset_data + member.size
            if member.isreg() and is_photograph(member.name):
                etag = f"{archive.etag}@{member.offset_data}+{member.size}"
                yield StoredObject(f"{archive.uri}#{member.name}", etag, member.size)
        if end > archive.size_bytes:
            raise tarfile.ReadError("its last member is cut off")


def read(uri: str, etag: str = "") -> bytes:
    """Read a photograph's bytes.

    Args:
        etag: As it was listed: what has changed since is not taken for it. "" takes what is there; for a
            member of a tar file it is needed.

    Raises:
        ObjectFailed: this one photograph cannot be read. A store that cannot be reached raises CallerError.
    """
    member, place = _MEMBER.fullmatch(uri), _PLACE.fullmatch(etag)
    if member is None or place is None:
        return storage.read(uri, etag)
    part = int(place["start"]), int(place["size"])
    return storage.read(member["archive"], place["etag"], part)


def read_photograph(uri: str, etag: str = "") -> bytes | Reject:
    """Read a photograph as `read` does; one that the store does not give costs its own row.

    Raises:
        CallerError: the store cannot be reached.
    """
    try:
        return read(uri, etag)
    except ObjectFailed as error:
        return next(reason for kind, reason in _REASONS if isinstance(error, kind))
