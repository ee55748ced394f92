"""Requests -> what an OpenAI-compatible chat endpoint answers: by HTTP, asked again while that can help."""

import json
import math
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from io import BufferedReader, RawIOBase
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from expllm.errors import CallerError, ExpllmError, RunError

_LONGEST_WAIT_S = 300.0
"""An endpoint that asks to be left alone for longer gives no answer."""
_LONGEST_PAUSE_S = 30.0
"""Longest of the pauses that double from try to try where the endpoint asks for none."""
_MOST_BYTES = 8 * 1024**2
_MOST_REASON_BYTES = 4096
_MOST_REASON_SIGNS = 160
_FOR_THE_MOMENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_KEY_REFUSED = frozenset({401, 402, 403})
_NOT_THERE = frozenset({404, 405, *range(300, 400)})
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading an answer of another form than the interface's ends in."""

T = TypeVar("T")


class NoAnswer(RunError):
    """One request gets no answer, however often it is asked; others may."""


class Declined(NoAnswer):
    """The endpoint refuses this one request, for what is in it."""


class Refused(CallerError):
    """The endpoint takes no request at all: the key is refused, or there is no such address or model."""


@dataclass(frozen=True)
class Names:
    """What messages call the settings that the caller can mend."""

    url: str
    model: str
    key: str


class Endpoint:
    """One endpoint; callable from several threads.

    Args:
        url: The base, such as https://api.openai.com/v1.
        timeout_s: Longest wait for a connection, and from the request to the end of its answer; for each try.
        retries: Tries after the first.

    Raises:
        CallerError: the URL or the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        names: Names,
        *,
        timeout_s: float,
        retries: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _check(url, key, names)
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._key, self._names = key, names
        self._timeout_s, self._retries, self._sleep = timeout_s, retries, sleep
        self._opener = build_opener(_NoRedirect, _Http, _Https)

    def ask(self, body: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """Ask; what fails for the moment is tried again, after the pause that the endpoint asks for, if any.

        Args:
            body: The request, with its `model`.
            read: Reads the answer's JSON; an answer over which it stumbles is none, and asked for again.

        Raises:
            NoAnswer: this request gets no answer; Declined where it is the request's own fault.
            Refused: no request would.
        """
        tried = 0
        while True:
            try:
                return self._try(body, read)
            except _TryAgain as failed:
                pause_s = _pause_s(tried) if failed.wait_s is None else failed.wait_s
                if tried == self._retries or pause_s > _LONGEST_WAIT_S:
                    asks = f", and asks to wait {pause_s:.0f} s" if pause_s > _LONGEST_WAIT_S else ""
                    raise NoAnswer(f"{self._url}: {failed}{asks}") from failed
            self._sleep(pause_s)
            tried += 1

    def _try(self, body: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        try:
            with self._opener.open(self._request(body), timeout=self._timeout_s) as response:
                answer = _whole(response)
        except HTTPError as error:
            with error:
                raise self._refusal(error, str(body["model"])) from error
        except (OSError, HTTPException) as error:
            raise _TryAgain(f"cannot be reached ({_cause(error)})") from error
        try:
            return read(json.loads(answer))
        except _UNREADABLE as error:
            raise _TryAgain("answers what is no chat completion") from error

    def _request(self, body: Mapping[str, Any]) -> Request:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return Request(self._url, json.dumps(body).encode(), headers, method="POST")

    def _refusal(self, error: HTTPError, model: str) -> "ExpllmError | _TryAgain":
        status, names = error.code, self._names
        said = f"HTTP {status}{self._reason(error)}"
        if status in _FOR_THE_MOMENT:
            return _TryAgain(f"answers {said}", _retry_after_s(error.headers))
        if status in _KEY_REFUSED:
            return Refused(f"{self._url}: refuses the key ({said}); check {names.key}")
        if status in _NOT_THERE:
            missing = f"has no such address or model {model!r} ({said})"
            return Refused(f"{self._url}: {missing}; check {names.url} and {names.model}")
        return Declined(f"{self._url}: refuses the call ({said})")

    def _reason(self, error: HTTPError) -> str:
        """What the endpoint says of its refusal, in one short line without the key; often nothing."""
        try:
            said = json.loads(error.read(_MOST_REASON_BYTES))["error"]
            text = str(said["message"] if isinstance(said, dict) else said)
        except (OSError, HTTPException, *_UNREADABLE):
            return ""
        if self._key:
            text = text.replace(self._key, "(the key)")
        line = "".join(filter(str.isprintable, " ".join(text.split())))
        return f": {line[:_MOST_REASON_SIGNS]}"


class _TryAgain(Exception):
    """A try that failed for the moment, and how long the endpoint asks to wait; not our error outside."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _NoRedirect(HTTPRedirectHandler):
    """Redirects are answers: following one would send the key to whatever host it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _UntilDeadline(RawIOBase):
    """What a socket receives within its timeout, counted once: its own begins anew with every byte."""

    def __init__(self, received: RawIOBase, connection: socket.socket) -> None:
        self._received, self._connection = received, connection
        self._deadline = time.monotonic() + (connection.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left_s)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Response(HTTPResponse):
    """A response whose lines and body must all come before the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = BufferedReader(_UntilDeadline(self.fp.detach(), sock))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Http(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _check(url: str, key: str | None, names: Names) -> None:
    """Refuse what cannot work, without a word of the key; a password in the URL would be in every message."""
    if any(sign in url for sign in "@?#"):
        raise CallerError(f"{names.url}: may hold no user name, query or fragment; write https://host/v1")
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not (is_address and _is_one_word(url)):
        raise CallerError(f"{names.url}: {url!r} is no address; write https://host/v1")
    if key and not _is_one_word(key):
        raise CallerError(f"{names.key} holds blanks or signs that no key has; set it anew")


def _is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _whole(response: HTTPResponse) -> bytes:
    answer = response.read(_MOST_BYTES + 1)
    if len(answer) > _MOST_BYTES:
        raise _TryAgain(f"answers more than {_MOST_BYTES // 1024**2} MiB, what is no chat completion")
    if response.length:
        raise IncompleteRead(answer, response.length)
    return answer


def _pause_s(tried: int) -> float:
    return float(min(_LONGEST_PAUSE_S, 2.0 ** min(tried, 10)) * random.uniform(0.5, 1))


def _retry_after_s(headers: "Message[str, str]") -> float | None:
    """The pause that Retry-After asks for, in seconds or as a date; None where it says neither."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _cause(error: BaseException) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
