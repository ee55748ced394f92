"""An endpoint of any model, against a real HTTP server on the loopback that behaves, misbehaves or dies."""

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from expllm import cot, prompt
from expllm.errors import CallerError, Reject, RunError
from expllm.evaluation.answers import Question, Reply, read
from expllm.evaluation.endpoint import EndpointAnswerer, form, key_from, label_logprobs
from expllm.expressions import Expression
from tests.chat_server import Endpoint, said
from tests.conftest import BY_HEART
from tests.evaluation.scripted import SMILE, seen

HAPPINESS = Expression.HAPPINESS
Answerer = Callable[..., EndpointAnswerer]


@pytest.fixture
def server(endpoint: Endpoint) -> Endpoint:
    """One that knows its answer by heart."""
    endpoint.answer = lambda body: said(BY_HEART)
    return endpoint


@pytest.fixture
def answerer(server: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Answerer:
    """What an evaluation asks it by; waiting takes no time."""
    monkeypatch.setenv("EXPLLM_ENDPOINT_KEY", "secret")

    def made(**options: Any) -> EndpointAnswerer:
        return EndpointAnswerer(f"openai:{server.url}#model", sleep=lambda s: None, **options)

    return made


def questions(count: int, **more: Any) -> list[Question]:
    return [Question(seen(SMILE), SMILE, **more)] * count


def test_it_is_asked_in_the_same_words_and_shown_the_crop(server: Endpoint, answerer: Answerer) -> None:
    (reply,) = answerer().answer(questions(1))
    assert isinstance(reply, Reply)
    assert read(reply, 1.0).expression is HAPPINESS
    assert reply.generated_tokens == 10
    (asked,) = server.requests
    assert (asked["model"], asked["temperature"]) == ("model", 0)
    assert server.headers[0]["Authorization"] == "Bearer secret"
    told, user = asked["messages"]
    assert told["content"] == form()
    picture, text = user["content"]
    assert text["text"] == prompt.words(SMILE)
    assert prompt.explain(SMILE).count(text["text"]) == 1
    encoded = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    assert Image.open(BytesIO(base64.b64decode(encoded))).size == (112, 112)


def test_a_model_that_knows_the_form_is_not_told_it(server: Endpoint, answerer: Answerer) -> None:
    asking = answerer(has_form=False)
    asking.answer(questions(1))
    assert [message["role"] for message in server.requests[0]["messages"]] == ["user"]
    assert not asking.can_put_label_first


def test_the_form_that_is_told_can_be_read() -> None:
    for label_first in (False, True):
        lines = [line for line in form(label_first=label_first).splitlines() if line.startswith("**")]
        text = "\n".join(lines).replace("one word, the expression.", "Happiness")
        chain = cot.parse(text, truncated=False)
        assert isinstance(chain, cot.ChainOfThought)
        assert {o.number for o in cot.observations(chain.key_observations)} == {6, 12, 14}


def test_the_label_can_be_asked_for_first(server: Endpoint, answerer: Answerer) -> None:
    answerer().answer(questions(1, is_label_first=True))
    assert server.requests[0]["messages"][0]["content"] == form(label_first=True)


def test_scores_are_read_off_the_first_token_of_a_name(server: Endpoint, answerer: Answerer) -> None:
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
    server.answer = lambda body: said("Happiness", logprobs={"content": tokens})
    (reply,) = answerer().answer(questions(1, is_scored=True))
    assert isinstance(reply, Reply)
    assert reply.label_logprobs == {HAPPINESS: -0.1, Expression.SADNESS: -2.5}
    label_question = server.requests[1]
    assert label_question["logprobs"] is True
    assert label_question["messages"][1]["content"][1]["text"] == prompt.words(SMILE, label_only=True)


@pytest.mark.parametrize(
    "told",
    [None, {}, {"content": None}, {"content": [{"token": 3}]}, {"content": [{"token": "Fear"}]}, "nonsense"],
)
def test_scores_that_are_none_give_none(told: Any) -> None:
    assert label_logprobs(told) == {}


def test_an_endpoint_without_scores_is_asked_for_them_once(server: Endpoint, answerer: Answerer) -> None:
    server.answer = lambda body: server.reply(400) if "logprobs" in body else said(BY_HEART)
    replies = answerer().answer(questions(3, is_scored=True))
    assert [isinstance(reply, Reply) and dict(reply.label_logprobs) for reply in replies] == [{}] * 3
    assert sum("logprobs" in asked for asked in server.requests) == 1


def test_an_answer_that_reached_the_limit_is_not_read(server: Endpoint, answerer: Answerer) -> None:
    server.answer = lambda body: said(BY_HEART, finish_reason="length")
    (reply,) = answerer().answer(questions(1))
    assert read(reply, 1.0).reason == str(Reject.TEXT_TRUNCATED)


def test_nonsense_costs_its_own_row(server: Endpoint, answerer: Answerer) -> None:
    bodies = [b"<html>", b'{"choices": []}', b'"text"', b'{"choices": [{"message": {"content": 5}}]}']
    nonsense = [*map(server.reply, [200] * len(bodies), bodies), said(None), said("\ud800")]
    server.script(said("I see a smile."), *nonsense, said("I see a smile."))
    replies = answerer(retries=0).answer(questions(9))
    reasons = [read(reply, 1.0).reason for reply in replies]
    assert reasons.count(str(Reject.GENERATION_FAILED)) == len(nonsense)
    assert reasons.count(str(Reject.TEXT_MALFORMED)) == 3


def test_an_answer_without_text_is_not_asked_for_again(server: Endpoint, answerer: Answerer) -> None:
    server.script(said(None))
    with pytest.raises(RunError, match="holds no text"):
        answerer().answer(questions(1))
    assert len(server.requests) == 1


def test_what_fails_for_the_moment_is_asked_again(server: Endpoint, answerer: Answerer) -> None:
    server.script(server.reply(503), None, server.reply(429), server.reply(body=b"<html>"), said(BY_HEART))
    (reply,) = answerer().answer(questions(1))
    assert isinstance(reply, Reply)


def test_no_answer_to_the_first_question_ends_the_evaluation(server: Endpoint, answerer: Answerer) -> None:
    server.script(server.reply(429, b'{"error": "quota"}', {"Retry-After": "3600"}))
    with pytest.raises(RunError, match=r"HTTP 429: quota.*; nothing was evaluated"):
        answerer().answer(questions(3))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "mend"),
    [(401, "EXPLLM_ENDPOINT_KEY"), (404, "openai:URL and #MODEL"), (400, "model takes pictures")],
)
def test_an_endpoint_that_refuses_is_the_callers_mistake_in_one_line(
    server: Endpoint, answerer: Answerer, status: int, mend: str
) -> None:
    server.script(server.reply(status, b'{"error": {"message": "no such thing"}}'))
    with pytest.raises(CallerError, match=f"no such thing.*{mend}") as raised:
        answerer().answer(questions(3))
    assert "secret" not in str(raised.value)
    assert len(server.requests) == 1


def test_an_endpoint_that_dies_half_way_leaves_counted_rows(server: Endpoint, answerer: Answerer) -> None:
    server.script(*[said(BY_HEART)] * 10, None)
    told: list[str] = []
    asking = answerer(tell=told.append)
    replies = asking.answer(questions(200))
    answered = sum(isinstance(reply, Reply) for reply in replies)
    assert answered == 10
    assert replies.count(Reject.GENERATION_FAILED) == 190
    assert len(server.requests) < 200, "a dead endpoint is asked no more"
    assert told == ["the endpoint gives no answers any more: 190 questions have none"]
    assert asking.answer(questions(3)) == [Reject.GENERATION_FAILED] * 3


def test_no_questions_are_no_requests(server: Endpoint, answerer: Answerer) -> None:
    assert answerer().answer([]) == []
    assert server.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "openai:http://me:word@host",
        "openai:#model",
        "openai:ftp://host#model",
        "openai:",
        "openai:http://h?a#m",
    ],
)
def test_a_misspelt_endpoint_is_told_how_to_write_one(name: str) -> None:
    with pytest.raises(CallerError, match="openai:URL") as raised:
        EndpointAnswerer(name)
    assert "word" not in str(raised.value)


def test_the_key_comes_from_the_environment() -> None:
    assert key_from({"OPENAI_API_KEY": "a", "EXPLLM_ENDPOINT_KEY": "b"}) == "b"
    assert key_from({"OPENAI_API_KEY": "a\n", "EXPLLM_ENDPOINT_KEY": " "}) == "a"
    assert key_from({}) is None
