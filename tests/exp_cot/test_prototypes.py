import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.cot import Observation
from expllm.exp_cot.prototypes import PROTOTYPES, as_named, nearest
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import ACTION_UNITS, Movement, Side, Strength


def named(*numbers, strength=Strength.STRONG, side=Side.BOTH):
    return [Observation(number, side, strength, ()) for number in numbers]


def test_every_expression_has_a_prototype():
    assert {prototype.expression for prototype in PROTOTYPES} == set(EXPRESSIONS)


def test_prototypes_are_made_of_action_units():
    moved = {abs(m) for prototype in PROTOTYPES for m in prototype.needed | prototype.joining}
    assert moved <= set(ACTION_UNITS)


@pytest.mark.parametrize("prototype", PROTOTYPES)
def test_a_prototype_at_full_strength_is_read_as_its_expression(prototype):
    observations = [
        Observation(abs(m), Side.LEFT if m < 0 else Side.BOTH, Strength.STRONG, ()) for m in prototype.needed
    ]
    assert nearest(observations) is prototype.expression


def test_an_open_mouthed_anger_is_not_taken_for_disgust():
    assert nearest(named(4, 5, 7, 10, 16, 25, 26)) is Expression.ANGER
    assert nearest([*named(4, 7, 10, 25), *named(16, strength=Strength.SLIGHT)]) is Expression.ANGER


def test_a_wrinkled_nose_is_disgust_with_all_that_joins_it():
    assert nearest(named(4, 7, 9, 10, 16, 25)) is Expression.DISGUST


def test_one_side_of_a_smile_is_contempt_and_both_are_happiness():
    assert nearest(named(12, side=Side.RIGHT)) is Expression.CONTEMPT
    assert nearest(named(12)) is Expression.HAPPINESS
    assert nearest([*named(12, side=Side.LEFT), *named(6, 25)]) is Expression.HAPPINESS


def test_faint_movements_are_neutral():
    assert nearest(named(1, 12, strength=Strength.FAINT)) is Expression.NEUTRAL
    assert nearest([]) is Expression.NEUTRAL


def test_a_movement_without_a_strength_counts_as_clear():
    assert nearest([Observation(12, Side.BOTH, None, ())]) is Expression.HAPPINESS


@given(st.sampled_from(sorted(ACTION_UNITS)), st.sampled_from(Strength), st.permutations(named(4, 5, 7, 23)))
def test_the_order_of_the_text_does_not_matter(number, strength, observations):
    more = named(number, strength=strength)
    assert nearest([*more, *observations]) is nearest([*observations, *more]) or number in (4, 5, 7, 23)


def test_movements_that_belong_to_no_expression_say_nothing():
    assert nearest(named(18, 22, 28, 43)) is Expression.NEUTRAL
    assert nearest([*named(43), *named(1, 15)]) is Expression.SADNESS


def test_a_movement_is_named_with_its_side_and_strength():
    assert as_named(Movement(14, Side.LEFT, 0.5)) == Observation(14, Side.LEFT, Strength.CLEAR, ())
