"""The S3 client's errors -> ours, each one line that names the URI and the cause."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
    TokenRetrievalError,
)

from expllm.errors import CallerError, RunError

BROKEN_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
"""What may happen to a GET whose body has begun, and which the client itself does not try again."""
_NO_CONNECTION = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError)
_GONE = frozenset({"404", "NoSuchKey", "NotFound", "InvalidObjectState"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_DENIED = frozenset({"403", "AccessDenied"})
_REFUSED = frozenset(
    "401 ExpiredToken InvalidAccessKeyId InvalidToken RequestTimeTooSkewed SignatureDoesNotMatch".split()
)
"""Answers about the credentials, which no object would get past."""


class ObjectFailed(RunError):
    """The store answers, and not with this one object; others may be fine."""


class ObjectGone(ObjectFailed):
    """The store says that it has no such object (or that the file cannot be read)."""

    @classmethod
    def at(cls, uri: str) -> Self:
        """The error of one object."""
        return cls(f"{uri}: is not there or cannot be read")


class ObjectChanged(ObjectFailed):
    """The object has other bytes than it had when it was listed."""

    @classmethod
    def at(cls, uri: str) -> Self:
        """The error of one object."""
        return cls(f"{uri}: has changed since it was listed")


class ObjectDenied(ObjectFailed, CallerError):
    """The store says that these credentials may not have this object."""


@contextmanager
def naming(uri: str) -> Iterator[None]:
    """Turn the S3 client's errors into one line that names the URI and the cause.

    Raises:
        ObjectFailed: this one object is at fault.
        CallerError: nothing can be had: no connection, no or wrong credentials, no such bucket.
    """
    try:
        yield
    except _NO_CREDENTIALS as error:
        raise CallerError(
            f"{uri}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except _NO_CONNECTION as error:
        raise CallerError(f"{uri}: cannot connect to the store; check AWS_ENDPOINT_URL") from error
    except ParamValidationError as error:
        raise CallerError(f"{uri}: {urlsplit(uri).netloc!r} cannot be a bucket; check the name") from error
    except ClientError as error:
        raise _named(uri, str(error.response.get("Error", {}).get("Code", ""))) from error
    except BotoCoreError as error:
        raise ObjectFailed(f"{uri}: the store failed: {type(error).__name__}") from error


def _named(uri: str, code: str) -> Exception:
    if code == "NoSuchBucket":
        return CallerError(f"{uri}: there is no bucket {urlsplit(uri).netloc!r}; check the name")
    if code in _CHANGED:
        return ObjectChanged.at(uri)
    if code in _GONE:
        return ObjectGone.at(uri)
    if code in _REFUSED:
        return CallerError(f"{uri}: access denied ({code}); check the credentials")
    if code in _DENIED:
        return ObjectDenied(f"{uri}: access denied ({code}); check the credentials and the bucket's policy")
    return ObjectFailed(f"{uri}: the store answered {code}")
