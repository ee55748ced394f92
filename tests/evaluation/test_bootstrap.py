import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.datasets import LabelledFace
from expllm.evaluation.answers import Said
from expllm.evaluation.bootstrap import Resampling, difference, estimates, interval, share
from expllm.evaluation.figures import columns
from expllm.expressions import Expression

HAPPINESS, ANGER = Expression.HAPPINESS, Expression.ANGER


def answers(right: list[bool]):
    faces = [LabelledFace("a", HAPPINESS)] * len(right)
    said = [Said(HAPPINESS if is_right else ANGER) for is_right in right]
    return columns(faces, said, [None] * len(right))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(0, 5))
def test_people_are_drawn_with_all_their_faces(people: list[str], seed: int) -> None:
    for places in Resampling(5, seed).draws(people):
        drawn = [people[place] for place in places]
        times = {person: drawn.count(person) / people.count(person) for person in set(people)}
        assert sum(times.values()) == len(set(people))
        assert all(count == int(count) for count in times.values())


def test_the_same_seed_gives_the_same_interval() -> None:
    ours, people = answers([True] * 30 + [False] * 10), list(range(40))
    first, again, other = (
        estimates(ours, people, Resampling(200, seed), ["accuracy"])["accuracy"] for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_an_interval_is_as_wide_as_theory_says() -> None:
    right = list(np.random.default_rng(0).random(400) < 0.8)
    found = share(right, range(400), Resampling(1000))
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 400) ** 0.5, rel=0.15)


def test_faces_of_one_person_make_an_interval_wider() -> None:
    right = [place // 10 % 2 == 0 for place in range(200)]
    alone, together = (
        share(right, people, Resampling(500)) for people in (range(200), [p // 10 for p in range(200)])
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_share_lies_in_its_interval(right: list[bool]) -> None:
    found = share(right, range(len(right)), Resampling(200))
    assert found.low <= found.value <= found.high
    assert found.count == len(right)


def test_what_is_not_known_is_left_out() -> None:
    found = share([True, None, False], "abc", Resampling(10))
    assert (found.value, found.count) == (0.5, 2)
    nothing = share([None], "a", Resampling(10))
    assert (nothing.value, nothing.low, nothing.count) == (None, None, 0)
    assert interval([None]) == (None, None)


def test_models_are_compared_on_the_same_draws() -> None:
    theirs = [True, False] * 100
    ours = [*theirs[:-10], *[True] * 10]
    gap = difference(answers(ours), answers(theirs), range(200), Resampling(500), "accuracy")
    assert gap.value == pytest.approx(0.025)
    assert gap.low > 0, "each face that is better is better in every draw it is in"
    assert difference(answers(ours), answers(ours), range(200), Resampling(50), "accuracy").high == 0.0


def test_no_faces_have_no_interval() -> None:
    found = estimates(answers([]), [], Resampling(10), ["accuracy"])["accuracy"]
    assert (found.value, found.low, found.high, found.count) == (None, None, None, 0)
