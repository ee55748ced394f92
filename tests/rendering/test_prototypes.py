import numpy as np
import pytest

from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS, EXPECTED_FROM, associated, movements
from expllm.rendering import head, rig
from expllm.rendering.expressions import STRAYS, at_peak, sample
from expllm.rendering.person import Person
from expllm.rendering.shapes import resting_vertices

SEEDS = range(60)


def true_action_units(expression, seed):
    person = Person.sample(seed)
    moved = rig.weights(sample(expression, seed).action_units, person.asymmetry)
    resting = resting_vertices(person.shape, person.rest)
    deformed = head.moved(resting, head.load().movements, moved)
    return rig.action_units(moved, rig.lip_gap(deformed) - rig.lip_gap(resting))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_same_seed_draws_the_same_movements(expression):
    assert sample(expression, 5) == sample(expression, 5)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_movements_are_columns_between_0_and_1(expression):
    for seed in SEEDS:
        units = sample(expression, seed).action_units
        assert set(units) <= set(COLUMNS)
        assert all(0 <= value <= 1 for value in units.values())


def test_a_neutral_face_shows_nothing_that_an_expression_has_of_its_own():
    """A funnel parts the lips, and lips that are sucked in are tight."""
    for seed in SEEDS:
        shown = movements(true_action_units(Expression.NEUTRAL, seed), EXPECTED_FROM)
        numbers = {movement.number for movement in shown}
        along = {25 for _ in numbers & {22}} | {23 for _ in numbers & {28}}
        assert not [m for m in shown if associated(m.number, m.side) and m.number not in along]


def test_some_faces_make_one_movement_that_no_expression_has():
    shown = [sample(Expression.NEUTRAL, seed).action_units for seed in range(200)]
    strays = [unit for units in shown for unit in STRAYS if units.get(unit, 0) >= 0.3]
    assert set(strays) == set(STRAYS) and 20 < len(strays) < 70


def test_neutral_faces_differ():
    assert len({tuple(true_action_units(Expression.NEUTRAL, seed).values()) for seed in SEEDS}) > 50


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if e is not Expression.NEUTRAL])
def test_an_expression_goes_from_faint_to_strong(expression):
    peaks = [sample(expression, seed).peak for seed in range(200)]
    assert min(peaks) < 0.4 < 0.85 < max(peaks)


@pytest.mark.parametrize("expression", list(Expression))
@pytest.mark.parametrize("peak", [0.1, 0.2, 1.0])
def test_a_peak_that_is_asked_for_scales_all_but_a_face_at_rest(expression, peak):
    for seed in range(20):
        drawn = sample(expression, seed)
        scaled = at_peak(drawn, peak)
        if expression is Expression.NEUTRAL:
            assert scaled == drawn
        else:
            assert scaled.peak == peak
            meant = [value for unit, value in scaled.action_units.items() if unit not in STRAYS]
            assert peak * 0.99 <= max(meant) <= max(0.27, peak)


@pytest.mark.parametrize(
    ("expression", "column"),
    [
        (Expression.HAPPINESS, "au12"),
        (Expression.SADNESS, "au15"),
        (Expression.SURPRISE, "au02"),
        (Expression.FEAR, "au20"),
        (Expression.DISGUST, "au09"),
        (Expression.ANGER, "au04"),
    ],
)
def test_an_expression_never_lacks_its_sign(expression, column):
    assert min(true_action_units(expression, seed)[column] for seed in SEEDS) > 0.15


def test_contempt_is_one_sided_and_as_often_left_as_right():
    lead = []
    for seed in range(200):
        units = sample(Expression.CONTEMPT, seed).action_units
        lead.append(units.get("au14_left", 0) - units.get("au14_right", 0))
    assert np.min(np.abs(lead)) > 0.05
    assert 70 < np.sum(np.array(lead) > 0) < 130
