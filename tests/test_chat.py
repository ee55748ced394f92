"""The client against a real server on the loopback that refuses, stalls, trickles, talks nonsense or dies."""

import json
import pickle
import socket
from email.message import Message
from email.utils import formatdate
from time import monotonic, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.chat import Declined, Endpoint, Names, NoAnswer, Refused, _retry_after_s
from expllm.errors import CallerError, RunError

BODY = {"model": "some-model", "messages": []}
KEY = "sk-very-secret"
NAMES = Names("the_url", "the_model", "the variable KEY")


def connected(url, key=KEY, *, timeout_s=5.0, retries=3, sleep=lambda _: None):
    return Endpoint(url, key, NAMES, timeout_s=timeout_s, retries=retries, sleep=sleep)


def text(answer):
    return answer["choices"][0]["message"]["content"]


@pytest.fixture
def pauses():
    """Those that were made; they take no time."""
    return []


@pytest.fixture
def ask(endpoint, pauses):
    """Ask the server for a text."""
    client = connected(endpoint.url, sleep=pauses.append)
    return lambda: client.ask(BODY, text)


def test_what_is_asked_and_answered_goes_through_unchanged(endpoint, ask):
    assert ask() == "hello"
    assert endpoint.requests == [BODY]
    assert endpoint.paths == ["/v1/chat/completions"]
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(endpoint):
    connected(endpoint.url, None).ask(BODY, text)
    assert "Authorization" not in endpoint.headers[0]


def test_a_rate_limit_is_waited_for_as_long_as_it_asks(endpoint, ask, pauses):
    endpoint.script(endpoint.reply(429, headers={"Retry-After": "7"}), endpoint.said("hello"))
    assert ask() == "hello"
    assert pauses == [7.0]


def test_a_rate_limit_may_give_the_time_when_it_ends(endpoint, ask, pauses):
    later = formatdate(time() + 200, usegmt=True)
    endpoint.script(endpoint.reply(429, headers={"Retry-After": later}), endpoint.said("hello"))
    assert ask() == "hello"
    assert 100 < pauses[0] <= 200


def test_who_asks_to_wait_for_an_hour_gives_no_answer(endpoint, ask, pauses):
    quota = json.dumps({"error": {"message": "no\nquota"}}).encode()
    endpoint.script(endpoint.reply(429, quota, {"Retry-After": "3600"}))
    with pytest.raises(NoAnswer, match=r"HTTP 429: no quota, and asks to wait 3600 s$"):
        ask()
    assert (pauses, len(endpoint.requests)) == ([], 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("2.5", 2.5), ("-2", 0.0), ("", None), ("soon", None), ("nan", None), ("²", None)],
)
def test_a_pause_is_read_where_one_is_asked_for(value, seconds):
    headers = Message()
    headers["Retry-After"] = value
    assert _retry_after_s(headers) == seconds


@given(st.text(st.characters(exclude_characters="\r\n"), max_size=40))
def test_no_pause_that_is_asked_for_is_negative_or_endless(value):
    headers = {"Retry-After": value}
    seconds = _retry_after_s(headers)
    assert seconds is None or 0 <= seconds < float("inf")


def test_an_endpoint_that_is_down_for_the_moment_is_tried_again_with_growing_pauses(endpoint, ask, pauses):
    endpoint.script(
        endpoint.reply(500),
        endpoint.reply(503, headers={"Retry-After": "soon"}),
        None,
        endpoint.said("hello"),
    )
    assert ask() == "hello"
    assert len(pauses) == 3
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))


def test_after_the_last_try_there_is_no_answer(endpoint, ask):
    endpoint.script(endpoint.reply(503))
    with pytest.raises(NoAnswer, match=r"/v1/chat/completions: answers HTTP 503$"):
        ask()
    assert len(endpoint.requests) == 4


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": null}',
        b"\xff\xfe",
        b"",
        b"[" * 100_000,
    ],
)
def test_nonsense_is_asked_again_and_never_taken_for_an_answer(endpoint, ask, body):
    endpoint.script(endpoint.reply(body=body))
    with pytest.raises(NoAnswer, match="no chat completion"):
        ask()
    assert len(endpoint.requests) == 4


def test_an_answer_without_end_is_given_up(endpoint, ask):
    endpoint.script(endpoint.reply(body=b" " * (9 * 1024**2)))
    with pytest.raises(NoAnswer, match="no chat completion"):
        ask()


def test_an_answer_that_breaks_off_is_asked_for_again(endpoint, ask):
    whole = endpoint.said("hello").body
    endpoint.script(endpoint.reply(body=whole, breaks_off=True), endpoint.said("hello again"))
    assert ask() == "hello again"


@pytest.mark.parametrize("pause_s", [0.05, 30])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("trickles", ["body", "all"])
def test_an_endpoint_that_stalls_or_trickles_is_left_after_the_timeout(endpoint, trickles, status, pause_s):
    body = endpoint.said("hello").body
    endpoint.script(endpoint.reply(status, body, trickle_s=pause_s, trickles=trickles))
    started = monotonic()
    with pytest.raises(NoAnswer, match=r"cannot be reached \(timed out\)|HTTP 400\)$"):
        connected(endpoint.url, timeout_s=0.3, retries=0).ask(BODY, text)
    assert monotonic() - started < 3


def test_an_endpoint_that_is_slow_but_in_time_is_heard(endpoint):
    endpoint.script(endpoint.reply(body=endpoint.said("hello").body, trickle_s=0.001, trickles="all"))
    assert connected(endpoint.url, timeout_s=60, retries=0).ask(BODY, text) == "hello"


def test_an_endpoint_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(NoAnswer, match=r"127\.0\.0\.1.*cannot be reached \(Connection refused\)"):
            connected(url).ask(BODY, text)


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (401, "refuses the key .*; check the variable KEY"),
        (403, "refuses the key"),
        (404, "model 'some-model'"),
        (405, "the_url and the_model"),
        (302, "the_url"),
    ],
)
def test_what_no_request_gets_past_is_the_callers_mistake_at_once(endpoint, ask, status, named):
    body = json.dumps({"error": {"message": f"no\n{KEY}\x1b\ud800 here"}}).encode()
    endpoint.script(endpoint.reply(status, body))
    with pytest.raises(Refused, match=named) as caught:
        ask()
    assert f"HTTP {status}: no (the key) here" in str(caught.value)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "body", [KEY.encode(), b'{"error": 5', b'{"error": {}}', b"[" * 4096, b"\xff", b"[]"]
)
def test_a_refusal_without_a_reason_is_told_without(endpoint, ask, body):
    endpoint.script(endpoint.reply(401, body))
    with pytest.raises(Refused, match=r"\(HTTP 401\)"):
        ask()


def test_a_request_that_is_declined_costs_itself_alone(endpoint, ask):
    endpoint.script(endpoint.reply(400, b'{"error": "too long"}'), endpoint.said("hello"))
    with pytest.raises(Declined, match=r"refuses the call \(HTTP 400: too long\)"):
        ask()
    assert ask() == "hello"


def test_a_redirect_is_not_followed_so_that_the_key_stays_here(endpoint, ask):
    endpoint.script(endpoint.reply(307, headers={"Location": f"{endpoint.url}/elsewhere"}))
    with pytest.raises(Refused, match="the_url"):
        ask()
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com/v1",
        "file:///etc/passwd",
        "https://",
        "https://me:word@example.com",
        "https://:word@example.com",
        "http://a/?b=word",
        "http://a/#word",
        "http://[a/v1",
        "http://a:port/v1",
        "http://a:0/v1",
        "http://a b/v1",
        "http://a/vé",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(url):
    with pytest.raises(CallerError, match=r"the_url: .*write https://host/v1") as caught:
        connected(url)
    assert "word" not in str(caught.value).replace("passwd", "")


@pytest.mark.parametrize("key", ["two words", "new\nline", "kéy"])
def test_a_key_that_cannot_be_one_is_refused_without_a_word_of_it(key):
    with pytest.raises(CallerError, match="the variable KEY holds") as caught:
        connected("https://example.com/v1", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("failure", [NoAnswer, Declined, Refused])
def test_a_failure_crosses_from_process_to_process(failure):
    assert str(pickle.loads(pickle.dumps(failure("why")))) == "why"  # noqa: S301 - our own


def test_the_two_ends_are_told_apart():
    assert (
        issubclass(Refused, CallerError) and issubclass(Declined, NoAnswer) and issubclass(NoAnswer, RunError)
    )


def test_a_client_does_not_show_its_key():
    assert KEY not in repr(connected("https://example.com/v1"))
