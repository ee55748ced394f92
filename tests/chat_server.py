"""A chat endpoint on the loopback that answers as a test tells it: the HTTP is real, the model is not."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal


@dataclass(frozen=True)
class Reply:
    """What the endpoint answers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    breaks_off: bool = False
    """Whether it promises more than it sends."""
    trickle_s: float = 0.0
    """The pause after each byte."""
    trickles: Literal["body", "all"] = "body"


def said(text: str | None, finish_reason: str = "stop", usage: Any = None, **more: Any) -> Reply:
    """An answer as the interface has it."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10} if usage is None else usage
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason, **more}
    return Reply(body=json.dumps({"choices": [choice], "usage": usage}).encode())


@dataclass
class Endpoint:
    """What was asked of the server, and what it answers: a function of the request's body."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Reply | None] = lambda _: said("hello")
    """Called for one request at a time; None hangs up."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    reply = Reply
    said = staticmethod(said)

    def script(self, *replies: Reply | None) -> None:
        """Answer with these one after the other, and with the last from then on."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def serving() -> Iterator[Endpoint]:
    """A running endpoint that says hello."""
    found, one_at_a_time, stopped = Endpoint(), threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with one_at_a_time:
                found.requests.append(request)
                found.headers.append(dict(self.headers))
                found.paths.append(self.path)
                reply = found.answer(request)
            if reply is not None:
                with suppress(OSError):  # who asked may have left
                    self.send(reply)

        def send(self, reply: Reply) -> None:
            at_once, slowly = _head(reply), reply.body
            if reply.trickles == "all":
                at_once, slowly = b"", at_once + slowly
            if not reply.trickle_s:
                at_once, slowly = at_once + slowly, b""
            self.wfile.write(at_once)
            for byte in slowly:
                self.wfile.write(bytes([byte]))
                stopped.wait(reply.trickle_s)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield found
        stopped.set()
        server.shutdown()
        thread.join()


def _head(reply: Reply) -> bytes:
    length = len(reply.body) + (100 if reply.breaks_off else 0)
    headers = {"Content-Length": str(length), **reply.headers}
    lines = [f"HTTP/1.0 {reply.status} -", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
