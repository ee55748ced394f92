"""A chat endpoint on the loopback that answers by a script: the HTTP is real, the model is not."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from expllm.evaluation.chat import Chat
from expllm.evaluation.endpoint import EndpointAnswerer
from tests.conftest import BY_HEART


@dataclass
class Answer:
    """What the server sends to one request."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """A chat endpoint that answers by a script, and keeps what it was asked."""

    script: Callable[[int, dict[str, Any]], Answer | None] = lambda number, body: says(BY_HEART)
    """(number of the request, its body) -> the answer; None breaks the connection off."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    url: str = ""

    def answerer(self, **options: Any) -> EndpointAnswerer:
        """What an evaluation asks it by; waiting takes no time."""
        chat = Chat(self.url, "model", "secret", wait=self.waited_s.append)
        return EndpointAnswerer(f"openai:{self.url}#model", chat=chat, **options)


def says(text: str, **more: Any) -> Answer:
    choice = {"message": {"content": text}, "finish_reason": "stop", **more}
    return Answer({"choices": [choice], "usage": {"completion_tokens": 60}})


@contextmanager
def serving() -> Iterator[Server]:
    """A server that listens until the context ends."""
    kept, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                kept.asked.append({"path": self.path, **body})
                kept.keys.append(self.headers["Authorization"])
                answer = kept.script(len(kept.asked), body)
            if answer is None:
                self.connection.close()
                return
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(data)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        kept.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield kept
        listening.shutdown()
