"""The client against a real server on the loopback that refuses, stalls, talks nonsense or dies."""

import pickle
import socket
from email.utils import formatdate
from time import time

import pytest

from expllm.errors import CallerError
from expllm.exp_cot.calls import Call, Completion, Message, TeacherFailed
from expllm.models.chat_endpoint import ChatEndpoint

CALL = Call("some-model", (Message("user", "hi"),), {"max_tokens": 5})
KEY = "sk-very-secret"


@pytest.fixture
def client(endpoint):
    """A client whose pauses are kept and not waited for."""
    pauses = []
    made = ChatEndpoint(endpoint.url, KEY, timeout_s=5, retries=3, sleep=pauses.append)
    made.pauses = pauses
    return made


def test_an_answer_is_read_with_its_tokens(endpoint, client):
    assert client.complete(CALL) == Completion("hello", 100, 10)
    assert endpoint.requests == [CALL.body]
    assert endpoint.paths == ["/v1/chat/completions"]
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(endpoint):
    ChatEndpoint(endpoint.url, None, timeout_s=5, retries=0).complete(CALL)
    assert "Authorization" not in endpoint.headers[0]


def test_an_answer_that_was_cut_off_is_none(endpoint, client):
    endpoint.script(endpoint.said("half of", finish_reason="length"))
    assert client.complete(CALL) == Completion("", 100, 10)


def test_tokens_that_are_not_counted_are_counted_at_their_most(endpoint, client):
    endpoint.script(endpoint.said("hello", usage={}))
    answer = client.complete(CALL)
    assert (answer.prompt_tokens, answer.generated_tokens) == (CALL.most_tokens[0], 3)


def test_a_rate_limit_is_waited_for_as_long_as_it_asks(endpoint, client):
    endpoint.script(endpoint.reply(429, headers={"Retry-After": "7"}), endpoint.said("hello"))
    assert client.complete(CALL).text == "hello"
    assert client.pauses == [7.0]


def test_a_rate_limit_may_give_the_time_when_it_ends(endpoint, client):
    later = formatdate(time() + 200, usegmt=True)
    endpoint.script(endpoint.reply(429, headers={"Retry-After": later}), endpoint.said("hello"))
    assert client.complete(CALL).text == "hello"
    assert 100 < client.pauses[0] <= 200


def test_who_asks_to_wait_for_an_hour_has_failed(endpoint, client):
    endpoint.script(endpoint.reply(429, headers={"Retry-After": "3600"}))
    with pytest.raises(TeacherFailed, match=r"HTTP 429, and asks to wait 3600 s"):
        client.complete(CALL)
    assert client.pauses == []


def test_an_endpoint_that_is_down_for_the_moment_is_tried_again_with_growing_pauses(endpoint, client):
    endpoint.script(
        endpoint.reply(500),
        endpoint.reply(503, headers={"Retry-After": "soon"}),
        endpoint.reply(502),
        endpoint.said("hello"),
    )
    assert client.complete(CALL).text == "hello"
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(client.pauses))
    assert len(client.pauses) == 3


def test_after_the_last_try_the_call_has_failed(endpoint, client):
    endpoint.script(endpoint.reply(503))
    with pytest.raises(TeacherFailed, match=r"/v1/chat/completions: answers HTTP 503$"):
        client.complete(CALL)
    assert len(endpoint.requests) == 4


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": null}}',
        b"\xff\xfe",
        b"",
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": -5}}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": Infinity}}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b"[" * 100_000,
    ],
)
def test_nonsense_is_tried_again_and_never_taken_for_an_answer(endpoint, client, body):
    endpoint.script(endpoint.reply(body=body))
    with pytest.raises(TeacherFailed, match="no chat completion"):
        client.complete(CALL)
    assert len(endpoint.requests) == 4


def test_an_answer_without_end_is_given_up(endpoint, client):
    endpoint.script(endpoint.reply(body=b" " * (9 * 1024**2)))
    with pytest.raises(TeacherFailed, match="no chat completion"):
        client.complete(CALL)


def test_an_answer_that_breaks_off_is_asked_for_again(endpoint, client):
    endpoint.script(
        endpoint.reply(body=endpoint.said("hello").body, breaks_off=True), endpoint.said("hello again")
    )
    assert client.complete(CALL).text == "hello again"


def test_an_endpoint_that_stalls_is_left_after_the_timeout(endpoint):
    endpoint.script(endpoint.reply(body=endpoint.said("hello").body, delay_s=30))
    with pytest.raises(TeacherFailed, match="cannot be reached"):
        ChatEndpoint(endpoint.url, None, timeout_s=0.3, retries=0).complete(CALL)


def test_an_endpoint_that_is_not_there_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(TeacherFailed, match=r"127\.0\.0\.1.*cannot be reached \(Connection refused\)"):
            ChatEndpoint(url, KEY, timeout_s=5, retries=1, sleep=lambda _: None).complete(CALL)


@pytest.mark.parametrize(
    ("status", "named"),
    [(401, "refuses the key"), (403, "refuses the key"), (404, "model 'some-model'"), (405, "teacher_url")],
)
def test_what_no_call_gets_past_is_the_callers_mistake_at_once(endpoint, client, status, named):
    endpoint.script(endpoint.reply(status, body=KEY.encode()))
    with pytest.raises(CallerError, match=named) as caught:
        client.complete(CALL)
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)
    assert len(endpoint.requests) == 1


def test_a_call_that_is_refused_costs_itself_alone(endpoint, client):
    endpoint.script(endpoint.reply(400), endpoint.said("hello"))
    with pytest.raises(TeacherFailed, match="refuses the call"):
        client.complete(CALL)
    assert client.complete(CALL).text == "hello"


def test_a_redirect_is_not_followed_so_that_the_key_stays_here(endpoint, client):
    endpoint.script(endpoint.reply(307, headers={"Location": f"{endpoint.url}/elsewhere"}))
    with pytest.raises(CallerError, match="teacher_url"):
        client.complete(CALL)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "url",
    ["api.example.com/v1", "file:///etc/passwd", "https://", "https://me:word@example.com", "http://a/?b=c"],
)
def test_what_is_no_address_is_refused_without_its_password(url):
    with pytest.raises(CallerError, match="write https://host/v1") as caught:
        ChatEndpoint(url, None, timeout_s=1, retries=0)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "new\nline", "kéy"])
def test_a_key_that_cannot_be_one_is_refused_without_a_word_of_it(key):
    with pytest.raises(CallerError, match="teacher_key") as caught:
        ChatEndpoint("https://example.com/v1", key, timeout_s=1, retries=0)
    assert key not in str(caught.value)


def test_a_failure_crosses_from_process_to_process():
    assert str(pickle.loads(pickle.dumps(TeacherFailed("why")))) == "why"  # noqa: S301 - our own
