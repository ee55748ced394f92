from hypothesis import given
from hypothesis import strategies as st

from expllm import facs
from expllm.expressions import EXPRESSIONS, Expression, read_expression
from expllm.facs import Side, Strength

REST: dict[str, float | None] = dict.fromkeys(facs.COLUMNS, 0.0)


def face(**intensities: float | None) -> dict[str, float | None]:
    return REST | intensities


def test_a_face_at_rest_shows_no_movement() -> None:
    assert facs.movements(REST) == ()


def test_a_movement_that_cannot_be_measured_is_not_there() -> None:
    assert facs.movements(face(au06=None)) == ()


def test_equal_sides_make_one_movement() -> None:
    (smile,) = facs.movements(face(au12=0.8, au12_left=0.85, au12_right=0.75))
    assert (smile.number, smile.side) == (12, Side.BOTH)


def test_a_one_sided_movement_counts_for_its_stronger_side() -> None:
    (dimple,) = facs.movements(face(au14_left=0.1, au14_right=0.6))
    assert dimple == facs.Movement(14, Side.RIGHT, 0.6)


def test_a_side_out_of_sight_leaves_the_whole() -> None:
    (smile,) = facs.movements(face(au12=0.7, au12_left=None, au12_right=0.7))
    assert smile == facs.Movement(12, Side.BOTH, 0.7)


def test_one_sided_lip_corners_are_a_sign_of_contempt() -> None:
    assert facs.associated(12, Side.LEFT) == (Expression.CONTEMPT,)
    assert facs.associated(12, Side.BOTH) == (Expression.HAPPINESS,)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_stronger_movement_never_has_a_weaker_word(a: float, b: float) -> None:
    order = list(Strength)
    low, high = sorted((a, b))
    assert order.index(facs.strength(low)) <= order.index(facs.strength(high))


@given(st.fixed_dictionaries({column: st.none() | st.floats(0, 1) for column in facs.COLUMNS}))
def test_each_action_unit_moves_at_most_once(intensities: dict[str, float | None]) -> None:
    numbers = [movement.number for movement in facs.movements(intensities)]
    assert len(numbers) == len(set(numbers)) and set(numbers) <= set(facs.ACTION_UNITS)


def test_every_expression_but_neutral_has_a_movement_of_its_own() -> None:
    named = {e for unit in facs.ACTION_UNITS.values() for e in unit.associated}
    named |= {e for sided in facs.ONE_SIDED.values() for e in sided}
    assert named == set(EXPRESSIONS) - {Expression.NEUTRAL}


@given(st.sampled_from(EXPRESSIONS))
def test_an_expression_is_read_by_its_word(expression: Expression) -> None:
    assert read_expression(f" {expression.word} ") is expression


def test_aliases_are_read_and_other_words_are_not() -> None:
    assert read_expression("Happy") is Expression.HAPPINESS
    assert read_expression("bored") is None
