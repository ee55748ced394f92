from pathlib import Path

import pytest

from benchmarks.measures import FAINT_BELOW, is_faint, measure
from benchmarks.pictures import Picture
from expllm import cot
from expllm.evaluation.answers import Said
from expllm.evaluation.texts import associations_correct
from expllm.expressions import Expression
from expllm.facs import COLUMNS

NEUTRAL, HAPPINESS, CONTEMPT = Expression.NEUTRAL, Expression.HAPPINESS, Expression.CONTEMPT


def picture(expression: Expression, **strong: float) -> Picture:
    return Picture(Path("a.jpg"), expression, "1", dict.fromkeys(COLUMNS, 0.0) | strong)


def smile(intensity: float) -> Picture:
    return picture(HAPPINESS, au12=intensity, au12_left=intensity, au12_right=intensity)


def test_a_model_that_gives_labels_alone_has_no_figures_of_texts() -> None:
    quality = measure([(smile(0.8), Said(HAPPINESS, 0.9)), (picture(CONTEMPT), Said(HAPPINESS, 0.9))])
    assert quality.accuracy == 0.5
    assert quality.accuracy_of_seven == 1.0
    assert (quality.lowest_recall, quality.lowest_recall_of) == (0.0, "contempt")
    assert quality.calibration_error == pytest.approx(0.4)
    assert {quality.parsed, quality.movements_precision, quality.associations_correct} == {None}


def test_a_text_is_compared_with_the_true_movements() -> None:
    text = "faint lip corner puller, slight cheek raiser (happiness)."
    quality = measure([(smile(0.8), Said(HAPPINESS, 0.9, text, parsed=True))])
    assert quality.movements_precision == 0.5
    assert quality.movements_recall == 1.0
    assert quality.strength_within_a_band == 0.0
    assert quality.associations_correct == 1.0
    assert quality.parsed == 1.0


def test_a_text_about_a_photograph_is_measured_by_its_associations_alone() -> None:
    photograph = Picture(Path("a.jpg"), HAPPINESS, "1")
    quality = measure([(photograph, Said(HAPPINESS, 0.9, "clear lip corner puller (happiness)."))])
    assert quality.movements_precision is None
    assert quality.associations_correct == 1.0


def test_a_face_that_is_not_found_counts_as_wrong_and_has_no_text_to_parse() -> None:
    quality = measure([(smile(0.8), Said()), (smile(0.8), Said(HAPPINESS, parsed=True))])
    assert quality.accuracy == 0.5
    assert quality.parsed == 1.0


def test_faint_faces_count_for_their_own_figure_only() -> None:
    pairs = [(smile(0.8), Said(HAPPINESS)), (smile(0.25), Said(NEUTRAL))]
    quality = measure(pairs, faint=[(smile(0.2), Said(HAPPINESS))])
    assert quality.accuracy == 0.5
    assert quality.accuracy_faint == 0.5
    assert (quality.faces, quality.faint_faces) == (2, 2)


def test_an_expression_is_faint_where_all_its_movements_are() -> None:
    assert is_faint(smile(FAINT_BELOW - 0.01))
    assert not is_faint(smile(FAINT_BELOW))
    assert is_faint(picture(Expression.SURPRISE, au26=0.2, au25=0.8))
    assert not is_faint(picture(NEUTRAL))
    assert not is_faint(Picture(Path("a.jpg"), HAPPINESS, "1"))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("clear lip corner puller (happiness).", 1.0),
        ("clear lip corner puller (happiness, anger).", 0.5),
        ("clear left lip corner puller (happiness).", 0.0),
        ("clear lip corner puller on one side (contempt).", 1.0),
        ("clear lip corner puller.", None),
    ],
)
def test_an_association_is_right_where_the_table_has_it(text: str, share: float | None) -> None:
    assert associations_correct(cot.observations(text)) == share


def test_no_pictures_give_no_figures() -> None:
    quality = measure([])
    assert quality.accuracy is None
    assert quality.lowest_recall is None
