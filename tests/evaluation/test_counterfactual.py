import pytest

from expllm.evaluation.answers import Said
from expllm.evaluation.bootstrap import Resampling
from expllm.evaluation.counterfactual import measure
from expllm.expressions import Expression
from tests.evaluation.scripted import SMILE, pair, units

NEUTRAL, HAPPINESS = Expression.NEUTRAL, Expression.HAPPINESS
GRIN = units({"au12": 0.8, "au12_left": 0.8, "au12_right": 0.8})
SMILE_PAIR = pair(12, SMILE, units({"au06": 0.7})).pair
CHEEK_PAIR = pair(6, SMILE, GRIN).pair
NAMES_BOTH = Said(HAPPINESS, key_observations="strong cheek raiser, strong lip corner puller (happiness).")
NAMES_CHEEK = Said(HAPPINESS, key_observations="strong cheek raiser (happiness).")
NAMES_NONE = Said(NEUTRAL, key_observations="No movement stands out.")
UNREADABLE = Said(parsed=False, reason="text_malformed")


@pytest.mark.parametrize(
    ("absent", "present", "share"),
    [
        (NAMES_CHEEK, NAMES_BOTH, 1.0),
        (NAMES_BOTH, NAMES_BOTH, 0.0),
        (NAMES_CHEEK, NAMES_CHEEK, 0.0),
        (NAMES_BOTH, NAMES_CHEEK, 0.0),
        (UNREADABLE, NAMES_BOTH, 0.0),
        (NAMES_CHEEK, UNREADABLE, 0.0),
    ],
)
def test_a_pair_is_faithful_where_only_the_text_with_the_movement_names_it(
    absent: Said, present: Said, share: float
) -> None:
    assert measure([SMILE_PAIR], [(absent, present)], Resampling(10)).faithfulness.value == share


def test_pairs_are_told_apart_by_whether_the_rule_gives_one_answer_or_two() -> None:
    found = measure(
        [SMILE_PAIR, CHEEK_PAIR, CHEEK_PAIR],
        [(NAMES_CHEEK, NAMES_BOTH), (NAMES_NONE, NAMES_BOTH), (NAMES_CHEEK, NAMES_BOTH)],
        Resampling(10),
    )
    assert (found.label_kept.value, found.label_kept.count) == (pytest.approx(2 / 3), 3)
    assert (found.label_moved.value, found.label_moved.count) == (None, 0)


def test_a_label_that_moves_with_the_rules_answer_is_counted() -> None:
    to_rest = pair(12, GRIN, units({})).pair
    found = measure([to_rest] * 2, [(NAMES_NONE, NAMES_BOTH), (NAMES_CHEEK, NAMES_BOTH)], Resampling(10))
    assert (found.label_moved.value, found.label_moved.count) == (0.5, 2)


def test_each_movement_has_its_own_share() -> None:
    said = [(NAMES_CHEEK, NAMES_BOTH), (NAMES_NONE, NAMES_BOTH), (NAMES_BOTH, NAMES_BOTH)]
    found = measure([SMILE_PAIR, CHEEK_PAIR, CHEEK_PAIR], said, Resampling(10))
    assert found.by_unit == {6: (0.5, 2), 12: (1.0, 1)}
    assert (found.named_where_present.value, found.named_where_absent.value) == (1.0, pytest.approx(1 / 3))


def test_pairs_that_lack_a_text_are_told() -> None:
    found = measure([SMILE_PAIR] * 2, [(UNREADABLE, NAMES_BOTH), (NAMES_CHEEK, NAMES_BOTH)], Resampling(10))
    assert (found.pairs, found.unanswered, found.faithfulness.value) == (2, 1, 0.5)


def test_no_pairs_give_no_share() -> None:
    assert measure([], [], Resampling(10)).faithfulness.value is None
