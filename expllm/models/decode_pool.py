"""Decodes photographs in processes of their own: bytes -> Photograph or Reject, whatever the bytes do.

A decoder reads hostile bytes, so nothing it sends is unpickled: a reply is one line of JSON and raw pixels.
"""

import json
import os
import queue
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from expllm import photographs
from expllm.errors import Reject, RunError
from expllm.photographs import Photograph

MEMORY_BYTES = 2 * 1024**3
"""What a decoder may take beyond what it holds at its start."""
_LENGTH_BYTES = 8
_LONGEST_REPLY_BYTES = 256


class DecodePool:
    """A fixed number of decoders; each photograph costs at most itself.

    Raises:
        RunError: A decoder cannot be started at all.
    """

    def __init__(self, processes: int, timeout_s: float, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decode")
        self._idle: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(processes):
            self._idle.put(None)

    def decode(self, photos: Sequence[bytes]) -> list[Photograph | Reject]:
        """Decode photographs side by side, in their order; callable from several threads.

        A photograph that ends its decoder, or takes longer than the time limit, is Reject.DECODER_DIED.
        """
        return list(self._threads.map(self._decode, photos))

    def _decode(self, data: bytes) -> Photograph | Reject:
        decoder = self._idle.get()
        try:
            if decoder is None or decoder.has_ended:
                decoder = _Decoder(self._memory_bytes)
            return decoder.decode(data, self._timeout_s)
        except (OSError, EOFError, ValueError):
            if decoder is not None:
                decoder.close()
            decoder = None
            return Reject.DECODER_DIED
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End the decoders, after the photographs in flight."""
        self._threads.shutdown()
        while not self._idle.empty():
            decoder = self._idle.get()
            if decoder is not None:
                decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Decoder:
    """One decoder process, seen from outside."""

    def __init__(self, memory_bytes: int) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self._has_expired = False
        if not self._replies.readline():
            self.close()
            raise RunError("a decoder process could not be started: is expllm importable by this Python?")

    def decode(self, data: bytes, timeout_s: float) -> Photograph | Reject:
        """Decode one photograph.

        Raises:
            OSError, EOFError: The process ended or was ended.
            ValueError: It sent what no decoder of ours would send.
        """
        with self._killed_after(timeout_s):
            self._requests.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
            self._requests.write(data)
            self._requests.flush()
            return _receive(self._replies)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._replies.close()
        with suppress(BrokenPipeError):  # what was still buffered has no reader any more
            self._requests.close()

    @contextmanager
    def _killed_after(self, timeout_s: float) -> Iterator[None]:
        """Kill the process when the time is over; its reader then sees the end of the pipe."""
        timer = threading.Timer(timeout_s, self._expire)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
        if self._has_expired:  # also where the answer came in the same moment: the process is gone
            raise EOFError

    def _expire(self) -> None:
        self._has_expired = True
        self._process.kill()


def _receive(replies: IO[bytes]) -> Photograph | Reject:
    line = replies.readline(_LONGEST_REPLY_BYTES)
    if not line:
        raise EOFError
    reply = json.loads(line)
    if isinstance(reply, str):
        return Reject(reply)
    rows, columns, height_px, width_px = _sizes(reply)
    data = replies.read(rows * columns * 3)
    if len(data) < rows * columns * 3:
        raise EOFError
    return Photograph(np.frombuffer(data, np.uint8).reshape(rows, columns, 3), width_px, height_px)


def _sizes(reply: object) -> list[int]:
    """The announced height and width, as decoded and in full, if a photograph can have them."""
    if not isinstance(reply, list) or len(reply) != 4 or not all(type(size) is int for size in reply):
        raise ValueError("not the sizes of a photograph")
    rows, columns, height_px, width_px = reply
    is_possible = 0 < rows <= min(height_px, photographs.LONGEST_PX)
    is_possible = is_possible and 0 < columns <= min(width_px, photographs.LONGEST_PX)
    if not is_possible or height_px * width_px > photographs.MAX_PIXELS:
        raise ValueError("larger than a photograph can be")
    return reply


def _send(outcome: Photograph | Reject, replies: IO[bytes]) -> None:
    reply: str | list[int]
    if isinstance(outcome, Reject):
        reply = outcome
    else:
        reply = [*outcome.pixels.shape[:2], outcome.height_px, outcome.width_px]
    replies.write(json.dumps(reply).encode() + b"\n")
    if isinstance(outcome, Photograph):
        replies.write(outcome.pixels.tobytes())
    replies.flush()


def _limit_memory(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the photograph
    if sys.platform == "linux":
        held_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held_bytes + memory_bytes,) * 2)


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until the pool closes the pipe; runs in the decoder process."""
    replies.write(b"ready\n")
    replies.flush()
    while length := requests.read(_LENGTH_BYTES):
        data = requests.read(int.from_bytes(length, "little"))
        _send(photographs.decode(data), replies)


if __name__ == "__main__":
    _limit_memory(int(sys.argv[1]))
    _serve(sys.stdin.buffer, sys.stdout.buffer)
