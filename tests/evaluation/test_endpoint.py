"""An endpoint of any model, against a real HTTP server on the loopback that behaves, misbehaves or dies."""

import base64
import math
from collections.abc import Iterator
from email.message import Message
from io import BytesIO
from time import time
from typing import Any

import pytest
from PIL import Image

from expllm import cot, prompt
from expllm.errors import CallerError, Reject, RunError
from expllm.evaluation.answers import Question, Reply, read
from expllm.evaluation.chat import Chat, retry_after_s
from expllm.evaluation.endpoint import EndpointAnswerer, form, key_from, label_logprobs, parse_name
from expllm.expressions import Expression
from tests.conftest import BY_HEART
from tests.evaluation.chat_server import Answer, Server, says, serving
from tests.evaluation.scripted import SMILE, seen

HAPPINESS = Expression.HAPPINESS


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as listening:
        yield listening


def questions(count: int, **more: Any) -> list[Question]:
    return [Question(seen(SMILE), SMILE, **more)] * count


def test_it_is_asked_in_the_same_words_and_shown_the_crop(server: Server) -> None:
    (reply,) = server.answerer().answer(questions(1))
    assert isinstance(reply, Reply)
    assert read(reply, 1.0).expression is HAPPINESS
    assert reply.generated_tokens == 60
    (asked,) = server.asked
    assert (asked["path"], asked["model"], asked["temperature"]) == ("/v1/chat/completions", "model", 0)
    assert server.keys == ["Bearer secret"]
    told, user = asked["messages"]
    assert told["content"] == form()
    picture, text = user["content"]
    assert text["text"] == prompt.words(SMILE)
    assert prompt.explain(SMILE).count(text["text"]) == 1
    encoded = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    assert Image.open(BytesIO(base64.b64decode(encoded))).size == (112, 112)


def test_a_model_that_knows_the_form_is_not_told_it(server: Server) -> None:
    answerer = server.answerer(has_form=False)
    answerer.answer(questions(1))
    assert [message["role"] for message in server.asked[0]["messages"]] == ["user"]
    assert not answerer.can_put_label_first


def test_the_form_that_is_told_can_be_read() -> None:
    for label_first in (False, True):
        lines = [line for line in form(label_first=label_first).splitlines() if line.startswith("**")]
        text = "\n".join(lines).replace("one word, the expression.", "Happiness")
        chain = cot.parse(text, truncated=False)
        assert isinstance(chain, cot.ChainOfThought)
        assert {o.number for o in cot.observations(chain.key_observations)} == {6, 12, 14}


def test_the_label_can_be_asked_for_first(server: Server) -> None:
    server.answerer().answer(questions(1, is_label_first=True))
    assert server.asked[0]["messages"][0]["content"] == form(label_first=True)


def test_scores_are_read_off_the_first_token_of_a_name(server: Server) -> None:
    tokens = [
        {"token": "**", "logprob": 0.0, "top_logprobs": []},
        {
            "token": " Happ",
            "logprob": -0.1,
            "top_logprobs": [
                {"token": " Happ", "logprob": -0.1},
                {"token": "happiness", "logprob": -4.0},
                {"token": " S", "logprob": -3.0},
                {"token": " Sad", "logprob": -2.5},
                {"token": " The", "logprob": -9.0},
            ],
        },
    ]
    server.script = lambda number, body: says("Happiness", logprobs={"content": tokens})
    (reply,) = server.answerer().answer(questions(1, is_scored=True))
    assert isinstance(reply, Reply)
    assert reply.label_logprobs == {HAPPINESS: -0.1, Expression.SADNESS: -2.5}
    label_question = server.asked[1]
    assert label_question["logprobs"] is True
    assert label_question["messages"][1]["content"][1]["text"] == prompt.words(SMILE, label_only=True)


@pytest.mark.parametrize(
    "told",
    [None, {}, {"content": None}, {"content": [{"token": 3}]}, {"content": [{"token": "Fear"}]}, "nonsense"],
)
def test_scores_that_are_none_give_none(told: Any) -> None:
    assert label_logprobs(told) == {}


def test_an_endpoint_without_scores_is_asked_for_them_once(server: Server) -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        if "logprobs" in body:
            return Answer({"error": {"message": "logprobs are not supported"}}, 400)
        return says(BY_HEART)

    server.script = script
    replies = server.answerer().answer(questions(3, is_scored=True))
    assert [isinstance(reply, Reply) and dict(reply.label_logprobs) for reply in replies] == [{}] * 3
    assert sum("logprobs" in asked for asked in server.asked) == 1


def test_an_answer_that_reached_the_limit_is_not_read(server: Server) -> None:
    server.script = lambda number, body: says(BY_HEART, finish_reason="length")
    (reply,) = server.answerer().answer(questions(1))
    assert read(reply, 1.0).reason == str(Reject.TEXT_TRUNCATED)


def test_nonsense_costs_its_own_row(server: Server) -> None:
    nonsense = [b"<html>", {"choices": []}, {"choices": [{"message": {"content": None}}]}, "text", None]
    server.script = lambda number, body: (
        Answer(nonsense[number - 2]) if 2 <= number < 2 + len(nonsense) else says("I see a smile.")
    )
    replies = server.answerer().answer(questions(8))
    said = [read(reply, 1.0) for reply in replies]
    reasons = [one.reason for one in said]
    assert reasons.count(str(Reject.GENERATION_FAILED)) == len(nonsense)
    assert reasons.count(str(Reject.TEXT_MALFORMED)) == 3


def test_a_rate_limit_is_waited_for_as_long_as_it_asks(server: Server) -> None:
    server.script = lambda number, body: (
        Answer({"error": "slow down"}, 429, {"Retry-After": "7"}) if number < 3 else says(BY_HEART)
    )
    (reply,) = server.answerer().answer(questions(1))
    assert isinstance(reply, Reply)
    assert server.waited_s == [7.0, 7.0]


def test_a_failing_server_is_asked_again_and_again_ever_later(server: Server) -> None:
    server.script = lambda number, body: None if number < 4 else says(BY_HEART)
    (reply,) = server.answerer().answer(questions(1))
    assert isinstance(reply, Reply)
    assert len(server.waited_s) == 3
    assert all(0.5 * 2**n <= waited <= 2**n for n, waited in enumerate(server.waited_s))


def test_a_limit_for_an_hour_is_no_answer(server: Server) -> None:
    server.script = lambda number, body: Answer({"error": "quota"}, 429, {"Retry-After": "3600"})
    with pytest.raises(RunError, match=r"too busy or failing \(HTTP 429: quota"):
        server.answerer().answer(questions(3))
    assert (len(server.asked), server.waited_s) == (1, [])


@pytest.mark.parametrize(
    ("status", "mend"),
    [(401, "EXPLLM_ENDPOINT_KEY"), (404, "serves model"), (400, "takes pictures"), (302, "address")],
)
def test_an_endpoint_that_refuses_is_the_callers_mistake_in_one_line(
    server: Server, status: int, mend: str
) -> None:
    server.script = lambda number, body: Answer(
        {"error": {"message": "no\nsuch thing"}}, status, {"Location": "http://127.0.0.1:9/"}
    )
    with pytest.raises(CallerError, match=mend) as raised:
        server.answerer().answer(questions(3))
    assert "no such thing" in str(raised.value)
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)
    assert len(server.asked) == 1


def test_nobody_listening_is_one_line(server: Server) -> None:
    chat = Chat("http://127.0.0.1:9", "model", None, wait=lambda s: None)
    with pytest.raises(RunError, match="cannot be reached"):
        EndpointAnswerer("openai:http://127.0.0.1:9#model", chat=chat).answer(questions(2))


def test_an_endpoint_that_dies_half_way_leaves_counted_rows(server: Server) -> None:
    server.script = lambda number, body: says(BY_HEART) if number <= 10 else None
    told: list[str] = []
    answerer = server.answerer(tell=told.append)
    replies = answerer.answer(questions(200))
    answered = sum(isinstance(reply, Reply) for reply in replies)
    assert answered == 10
    assert replies.count(Reject.GENERATION_FAILED) == 190
    assert len(server.asked) < 200, "a dead endpoint is asked no more"
    assert told == ["the endpoint gives no answers any more: 190 questions have none"]
    assert answerer.answer(questions(3)) == [Reject.GENERATION_FAILED] * 3


def test_no_questions_are_no_requests(server: Server) -> None:
    assert server.answerer().answer([]) == []
    assert server.asked == []


@pytest.mark.parametrize(
    "name", ["openai:http://host", "openai:#model", "openai:ftp://host#model", "openai:"]
)
def test_a_misspelt_endpoint_is_told_how_to_write_one(name: str) -> None:
    with pytest.raises(CallerError, match="openai:URL#MODEL"):
        parse_name(name)


def test_the_key_comes_from_the_environment() -> None:
    assert key_from({"OPENAI_API_KEY": "a", "EXPLLM_ENDPOINT_KEY": "b"}) == "b"
    assert key_from({"OPENAI_API_KEY": "a", "EXPLLM_ENDPOINT_KEY": ""}) == "a"
    assert key_from({}) is None
    assert "secret" not in repr(Chat("http://host", "model", "secret"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("-2", 0.0), ("", None), ("soon", None), ("nan", None)]
)
def test_retry_after_is_read_as_seconds(text: str, seconds: float | None) -> None:
    headers: Message[str, str] = Message()
    headers["Retry-After"] = text
    assert retry_after_s(headers) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    from email.utils import formatdate

    headers: Message[str, str] = Message()
    headers["Retry-After"] = formatdate(time() + 30, usegmt=True)
    found = retry_after_s(headers)
    assert found is not None and math.isclose(found, 30, abs_tol=2)
