"""A teacher behind an endpoint: what is read of its answers, and what its failures are to a run."""

import pickle

import pytest

from expllm.config import BuildCotConfig
from expllm.errors import CallerError
from expllm.exp_cot import endpoint as teacher
from expllm.exp_cot.calls import Call, Completion, Message, TeacherFailed

CALL = Call("some-model", (Message("user", "hi"),), {"max_tokens": 5})


@pytest.fixture
def complete(endpoint):
    """Ask the server, once."""
    config = BuildCotConfig.of({"teacher_url": endpoint.url, "retries": 0})
    return lambda: teacher.complete(teacher.endpoint_of(config, "key"), CALL)


def test_an_answer_is_read_with_its_tokens(endpoint, complete):
    assert complete() == Completion("hello", 100, 10)
    assert endpoint.requests == [CALL.body]


def test_an_answer_that_was_cut_off_is_none(endpoint, complete):
    endpoint.script(endpoint.said("half of", finish_reason="length"))
    assert complete() == Completion("", 100, 10)


def test_tokens_that_are_not_counted_are_counted_at_their_most(endpoint, complete):
    endpoint.script(endpoint.said("hello", usage={}))
    assert complete() == Completion("hello", CALL.most_tokens[0], 3)


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": null}}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": -5}}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": Infinity}}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
    ],
)
def test_nonsense_is_never_taken_for_an_answer(endpoint, complete, body):
    endpoint.script(endpoint.reply(body=body))
    with pytest.raises(TeacherFailed, match="no chat completion"):
        complete()


@pytest.mark.parametrize(("status", "told"), [(400, "refuses the call"), (503, "answers HTTP 503")])
def test_a_call_without_an_answer_costs_itself_alone(endpoint, complete, status, told):
    endpoint.script(endpoint.reply(status), endpoint.said("hello"))
    with pytest.raises(TeacherFailed, match=told):
        complete()
    assert complete().text == "hello"


@pytest.mark.parametrize(("status", "named"), [(401, "teacher_key"), (404, "teacher_url and teacher_model")])
def test_what_no_call_gets_past_names_the_setting(endpoint, complete, status, named):
    endpoint.script(endpoint.reply(status))
    with pytest.raises(CallerError, match=named):
        complete()


def test_a_failure_crosses_from_process_to_process():
    assert str(pickle.loads(pickle.dumps(TeacherFailed("why")))) == "why"  # noqa: S301 - our own
