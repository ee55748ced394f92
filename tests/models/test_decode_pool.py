import json
import os
import signal
import struct
import subprocess
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from expllm.errors import Reject
from expllm.models.decode_pool import DecodePool, _receive
from expllm.photographs import Photograph, decode


def photo(seed=0, size=(40, 30), format="PNG"):
    out = BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(out, format)
    return out.getvalue()


def large_photo():
    """A valid PNG of 36 million pixels in a few kilobytes: much memory for little traffic."""
    side_px = 6_000
    header = b"IHDR" + struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes((side_px + 1) * side_px), 1)
    parts = (header, body, b"IEND")
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture(scope="module")
def pool():
    with DecodePool(processes=2, timeout_s=30) as pool:
        yield pool


def children():
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "decode_pool" in line]


def test_the_answers_are_those_of_decode_in_order(pool):
    photos = [photo(1), b"", photo(2, (64, 20)), b"nothing", photo(3, format="JPEG")]
    for data, answer in zip(photos, pool.decode(photos), strict=True):
        expected = decode(data)
        if isinstance(expected, Photograph):
            np.testing.assert_array_equal(answer.pixels, expected.pixels)
            assert (answer.width_px, answer.height_px) == (expected.width_px, expected.height_px)
        else:
            assert answer is expected


def test_no_photographs_give_no_answers(pool):
    assert pool.decode([]) == []


def test_a_decoder_that_died_is_replaced(pool):
    pool.decode([photo()] * 4)
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    assert all(isinstance(answer, Photograph) for answer in pool.decode([photo()] * 8)[2:])


def test_a_photograph_past_its_time_costs_only_itself():
    before = set(children())
    with DecodePool(processes=1, timeout_s=2) as pool:
        (first,) = pool.decode([photo(1)])
        (decoder,) = set(children()) - before
        os.kill(decoder, signal.SIGSTOP)
        second, third = pool.decode([photo(2), photo(3)])
    assert isinstance(first, Photograph)
    assert second is Reject.DECODER_DIED
    assert isinstance(third, Photograph)


def test_a_photograph_that_takes_too_much_memory_costs_only_itself():
    with DecodePool(processes=1, timeout_s=30, memory_bytes=24 * 1024**2) as pool:
        first, second, third = pool.decode([photo(1), large_photo(), photo(2)])
    assert isinstance(first, Photograph)
    assert second is Reject.DECODER_DIED
    assert isinstance(third, Photograph)


@pytest.mark.parametrize(
    "reply",
    [
        b"nonsense\n",
        b"\xff\n",
        b"{}\n",
        b"7\n",
        b'"no_such_reject"\n',
        b"[1, 1]\n",
        b'[1, 1, 1, "1"]\n',
        b"[true, 1, 1, 1]\n",
        b"[1, 1, 1.0, 1]\n",
        b"[0, 1, 1, 1]\n",
        b"[-1, -1, 1, 1]\n",
        b"[2, 2, 1, 1]\n",
        b"[4096, 4096, 4096, 4096]\n",
        b"[1, 1, 1000000, 1000000]\n",
        b"[" * 100_000,
    ],
)
def test_a_reply_that_no_decoder_of_ours_sends_is_an_error_of_value(reply):
    with pytest.raises(ValueError):
        _receive(BytesIO(reply + bytes(64)))


def test_the_largest_photograph_is_received():
    side_px = 2048
    reply = json.dumps([side_px, side_px, 10_000, 10_000]).encode() + b"\n" + bytes(side_px * side_px * 3)
    assert _receive(BytesIO(reply)).pixels.shape == (side_px, side_px, 3)


def test_a_decoder_that_sends_nonsense_costs_only_its_photograph(pool):
    pool.decode([photo()] * 4)
    decoders = [pool._idle.get() for _ in range(2)]
    for decoder in decoders:
        decoder._replies = BytesIO(b"nonsense\n")
        pool._idle.put(decoder)
    answers = pool.decode([photo()] * 6)
    assert answers.count(Reject.DECODER_DIED) <= 2
    assert Reject.DECODER_DIED in answers and isinstance(answers[-1], Photograph)


def test_a_closed_pool_leaves_no_process():
    before = set(children())
    with DecodePool(processes=2, timeout_s=30) as pool:
        pool.decode([photo()] * 4)
        mine = set(children()) - before
        assert mine
    assert not mine & set(children())
