"""A long run's time and cost, told from a short one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.config import Prices
from expllm.errors import RunError
from expllm.planning import Budget, Canary, Machines, plan, times

HELD = Machines(cpus=4, gpus=1)
START_S, EACH_S, END_S = 30.0, 0.5, 10.0


def canary(photographs: int = 100, *, uneven: float = 0.0) -> Canary:
    """A run that takes a time to start, the same for each photograph, and a time to end."""
    rng = random.Random(0)
    at, marks = START_S, []
    for done in range(1, photographs + 1):
        at += EACH_S * rng.uniform(1 - uneven, 1 + uneven)
        marks.append((done, at))
    return Canary(photographs, 2 * photographs, 5, 1000, 500, at + END_S, marks)


@given(st.integers(101, 10**9))
def test_what_starts_and_ends_a_run_counts_once(photographs: int) -> None:
    low_s, time_s, high_s = times(photographs, canary())
    assert time_s == pytest.approx(START_S + photographs * EACH_S + END_S)
    assert low_s == pytest.approx(time_s) and high_s == pytest.approx(time_s)


def test_an_uneven_pace_widens_the_band() -> None:
    low_s, time_s, high_s = times(10_000, canary(uneven=0.9))
    assert low_s < 0.97 * time_s and high_s > 1.03 * time_s


@pytest.mark.parametrize("photographs", [1, 100])
def test_a_canary_of_everything_has_taken_its_own_time(photographs: int) -> None:
    assert times(photographs, canary()) == (canary().elapsed_s,) * 3


def test_a_run_too_short_for_marks_is_told_from_as_it_is() -> None:
    short = Canary(1, 1, 0, 10, 10, 40.0, [(1, 35.0)])
    assert times(11, short)[1] == pytest.approx(40 + 10 * 35)


def test_counts_grow_in_proportion() -> None:
    planned = plan(1000, 99, {}, canary(), HELD, Prices())
    assert (planned.faces, planned.rejected, planned.generated_tokens) == (2000, 50, 5000)
    assert planned.cost is None


def test_the_cost_is_of_machines_and_requests() -> None:
    prices = Prices.of({"cpu_hour": 0.1, "gpu_hour": 2.0, "get_1000": 0.5})
    planned = plan(1000, 99, {"get": 1000, "put": 9}, canary(), HELD, prices)
    assert planned.cost == pytest.approx((4 * 0.1 + 2.0) * planned.time_s / 3600 + 0.5)
    assert planned.gpu_hours == pytest.approx(planned.time_s / 3600)


def test_a_run_ends_before_it_passes_its_limit() -> None:
    budget = Budget(HELD, Prices.of({"gpu_hour": 36.0}), most=1.0)  # a hundred seconds
    budget.check(40.0, {})
    with pytest.raises(RunError, match=r"0\.70 are spent.*max_cost 1\.00"):
        budget.check(70.0, {})


def test_a_run_without_a_limit_goes_on() -> None:
    Budget(HELD, Prices.of({"gpu_hour": 36.0}), most=None).check(1e9, {"get": 10})
