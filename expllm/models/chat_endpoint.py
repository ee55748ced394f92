"""Chat calls -> completions, by HTTP from any endpoint with the OpenAI chat completions interface."""

import email.utils
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message as Headers
from typing import Any
from urllib.parse import urlsplit

from expllm.errors import CallerError
from expllm.exp_cot.calls import Call, Completion, TeacherFailed, most_tokens

_LONGEST_WAIT_S = 300.0
"""An endpoint that asks to be left alone for longer has failed."""
_LONGEST_PAUSE_S = 30.0
"""Longest of the pauses that double from try to try where the endpoint asks for none."""
_MOST_BYTES = 8 * 1024**2
_MOST_TOKENS = 10_000_000
_NONSENSE = "answers what is no chat completion"
_PART_BYTES = 64 * 1024
_FOR_THE_MOMENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_KEY_REFUSED = frozenset({401, 402, 403})
_NOT_THERE = frozenset({404, 405, 301, 302, 303, 307, 308})


class _TryAgain(Exception):
    """A try that failed for the moment, and how long the endpoint asks to wait; not our error outside."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are answers: following one would send the key to whatever host it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ChatEndpoint:
    """One endpoint; callable from several threads.

    Raises:
        CallerError: the URL or the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float,
        retries: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check(url, key)
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout_s, self._retries, self._sleep = timeout_s, retries, sleep
        self._opener = urllib.request.build_opener(_NoRedirect)

    def complete(self, call: Call) -> Completion:
        """Ask; what fails for the moment is tried again, after the pause that the endpoint asks for, if any.

        Raises:
            TeacherFailed: this call gets no answer.
            CallerError: no call would: the key is refused, or there is no such model or address.
        """
        for number in range(self._retries + 1):
            try:
                return self._try(call)
            except _TryAgain as failed:
                pause_s = _pause_s(number) if failed.wait_s is None else failed.wait_s
                if number == self._retries or pause_s > _LONGEST_WAIT_S:
                    asks = f", and asks to wait {pause_s:.0f} s" if pause_s > _LONGEST_WAIT_S else ""
                    raise TeacherFailed(f"{self._url}: {failed}{asks}") from failed
                self._sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _try(self, call: Call) -> Completion:
        request = urllib.request.Request(
            self._url, json.dumps(call.body).encode(), self._headers, method="POST"
        )
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return read_completion(_read(response, deadline), call)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error, call.model) from error
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgain(f"cannot be reached ({_reason(error)})") from error

    def _refused(self, error: urllib.error.HTTPError, model: str) -> Exception:
        status = error.code
        if status in _KEY_REFUSED:
            return CallerError(f"{self._url}: refuses the key (HTTP {status}); check teacher_key's variable")
        if status in _NOT_THERE:
            return CallerError(
                f"{self._url}: has no such address or model {model!r} (HTTP {status}); "
                "check teacher_url and teacher_model"
            )
        if status in _FOR_THE_MOMENT:
            return _TryAgain(f"answers HTTP {status}", _retry_after_s(error.headers))
        return TeacherFailed(f"{self._url}: refuses the call (HTTP {status})")


def check(url: str, key: str | None) -> None:
    """Refuse what cannot work, without a word of the key; a password in the URL would be in every message.

    Raises:
        CallerError: the URL or the key cannot be one.
    """
    parts = urlsplit(url)
    if parts.username or parts.query:
        raise CallerError("teacher_url: may hold no user name and no query; write https://host/v1")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallerError(f"teacher_url {url}: is no address; write https://host/v1")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise CallerError(
            "the variable that teacher_key names holds blanks or signs that no key has; set it anew"
        )


def read_completion(body: bytes, call: Call) -> Completion:
    """Read the answer to one call; where it does not count its tokens, the most that they can be count.

    Raises:
        _TryAgain: it is no such answer.
    """
    try:
        answer = json.loads(body)
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        text, is_whole = choice["message"]["content"] or "", choice.get("finish_reason") in ("stop", None)
        prompt_tokens = _count(usage.get("prompt_tokens", call.most_tokens[0]))
        generated_tokens = _count(usage.get("completion_tokens", most_tokens(text)))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _TryAgain(_NONSENSE) from error
    return Completion(text if is_whole else "", prompt_tokens, generated_tokens)


def _count(tokens: object) -> int:
    if not isinstance(tokens, int) or not 0 <= tokens <= _MOST_TOKENS:
        raise ValueError(f"{tokens!r} is no number of tokens")
    return tokens


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read to the end; an endpoint that trickles is held to the same time as one that is silent."""
    body = bytearray()
    while part := response.read1(_PART_BYTES):
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError("its answer takes too long")
        if len(body) > _MOST_BYTES:
            raise _TryAgain(_NONSENSE)
    if response.length:
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)


def _pause_s(number: int) -> float:
    return min(_LONGEST_PAUSE_S, 2.0**number) * random.uniform(0.5, 1)


def _retry_after_s(headers: Headers) -> float | None:
    """The pause that Retry-After asks for, in seconds or as a date; None where it says neither."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
