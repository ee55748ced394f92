"""Messages -> an OpenAI-compatible endpoint's answer: one HTTP request, tried again while that can help."""

import json
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from expllm.errors import CallerError, ExpllmError, RunError

TIMEOUT_S = 120
_TRIES = 5
_LONGEST_WAIT_S = 120
"""An endpoint that asks to wait longer is taken to give no answer."""
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""


class NoAnswer(RunError):
    """The endpoint gives no answer to one request, however often it is asked."""


class Refused(CallerError):
    """The endpoint answers that it does not take such requests at all."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the key and the picture elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirects)


@dataclass(frozen=True)
class Chat:
    """One model behind one endpoint; may be called from many threads."""

    url: str
    """The base, such as https://api.openai.com/v1."""
    model: str
    key: str | None = field(repr=False)
    wait: Callable[[float], None] = time.sleep

    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for a completion and give back its first choice, with `generated_tokens` beside it.

        Raises:
            Refused: the key, the address or the request is wrong.
            NoAnswer: it cannot be reached, is too busy, or what it sends is no completion.
        """
        request = self._request(body)
        failure: ExpllmError = NoAnswer(f"{self.url}: was not asked")
        for attempt in range(_TRIES):
            pause = min(2.0**attempt, 30.0) * random.uniform(0.5, 1.0)
            try:
                with _OPENER.open(request, timeout=TIMEOUT_S) as response:
                    return self._choice(response.read())
            except HTTPError as error:
                failure = self._failed(error)
                asked = retry_after_s(error.headers)
                if error.code not in _AGAIN or (asked or 0) > _LONGEST_WAIT_S:
                    raise failure from error
                pause = pause if asked is None else asked
            except (URLError, HTTPException, OSError) as error:
                failure = NoAnswer(f"{self.url}: cannot be reached ({getattr(error, 'reason', error)})")
            if attempt + 1 < _TRIES:
                self.wait(pause)
        raise failure

    def _request(self, body: Mapping[str, Any]) -> Request:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = json.dumps({"model": self.model, **body}).encode()
        return Request(f"{self.url.rstrip('/')}/chat/completions", data, headers)

    def _failed(self, error: HTTPError) -> ExpllmError:
        said = _reason(error)
        if error.code in _AGAIN:
            return NoAnswer(f"{self.url}: is too busy or failing (HTTP {error.code}{said})")
        if error.code in (401, 403):
            mend = "set OPENAI_API_KEY or EXPLLM_ENDPOINT_KEY to a key that it takes"
        elif error.code == 404 or error.code < 400:
            mend = f"check the address and that it serves {self.model}"
        else:
            mend = f"check that {self.model} takes pictures in a chat"
        return Refused(f"{self.url}: refuses (HTTP {error.code}{said}); {mend}")

    def _choice(self, data: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(data)
            choice = answer["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise NoAnswer(f"{self.url}: what it sends is no chat completion") from error
        if not isinstance(content, str):
            raise NoAnswer(f"{self.url}: its answer holds no text")
        usage = answer.get("usage")
        used = usage.get("completion_tokens") if isinstance(usage, dict) else None
        return {**choice, "generated_tokens": used if isinstance(used, int) else None}


def retry_after_s(headers: "Message[str, str]") -> float | None:
    """The seconds that an answer asks to wait: a number, or a date; None where it asks nothing."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _reason(error: HTTPError) -> str:
    """What the endpoint says of its refusal, in one short line."""
    try:
        said = json.loads(error.read(4096))["error"]
        text = said["message"] if isinstance(said, dict) else said
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return ""
    return f": {' '.join(str(text).split())[:160]}"


class Breaker:
    """Counts failures in a row, over all threads, and says when to ask no more."""

    def __init__(self, most: int) -> None:
        self._most, self._failed = most, 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether so many failed in a row that the endpoint is taken for dead."""
        return self._failed >= self._most

    def count(self, *, has_failed: bool) -> None:
        """Take note of one request."""
        with self._lock:
            self._failed = self._failed + 1 if has_failed else 0
