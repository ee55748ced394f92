from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.config import Price
from expllm.exp_cot.calls import Call, Completion, Message, Meter, Purse, cost, most_tokens

CALL = Call("m", (Message("system", "be brief"), Message("user", "hello")), {"max_tokens": 7})


def test_a_call_is_sent_as_the_interface_has_it():
    assert CALL.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "max_tokens": 7,
    }


@pytest.mark.parametrize(
    "other",
    [
        Call("n", CALL.messages, CALL.parameters),
        Call("m", CALL.messages[:1], CALL.parameters),
        Call("m", CALL.messages, {"max_tokens": 8}),
        Call("m", (*CALL.messages, Message("assistant", "")), CALL.parameters),
    ],
)
def test_whatever_shapes_the_answer_changes_the_key(other):
    assert other.key != CALL.key


def test_the_order_of_the_parameters_does_not_change_the_key():
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert Call("m", (), one).key == Call("m", (), other).key


def test_what_a_call_can_take_is_bounded_from_above():
    prompt, answer = CALL.most_tokens
    assert prompt > len("be brief hello".split()) and answer == 7
    assert Call("m", (), {}).most_tokens == (0, None)
    assert most_tokens("abc") == 2


def test_a_price_is_for_a_million_tokens():
    assert cost(Price(prompt=2, answer=10), 500_000, 100_000) == 2.0


@given(st.lists(st.floats(0.01, 1), max_size=30))
def test_a_purse_never_gives_more_than_it_has(amounts):
    purse = Purse(3.0, spent=1.0)
    assert sum(amount for amount in amounts if purse.put_aside(amount)) <= 2.0 + 1e-9


def test_what_was_put_aside_and_not_paid_can_be_spent():
    purse = Purse(1.0)
    assert purse.put_aside(1.0) and not purse.put_aside(0.1)
    purse.give_back(0.5)
    assert purse.put_aside(0.5)


def test_a_purse_holds_when_many_take_from_it():
    purse = Purse(100.0)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: purse.put_aside(1.0), range(300)))
    assert sum(taken) == 100


def test_a_meter_counts_what_passes_through_it():
    meter = Meter()
    counted = meter.counting(lambda call: Completion(call.model, 3, 2))
    assert [counted(CALL).text, counted(CALL).text] == ["m", "m"]
    assert (meter.calls, meter.prompt_tokens, meter.generated_tokens) == (2, 6, 4)
