import numpy as np
import pytest

from expllm import metrics
from expllm.expressions import EXPRESSIONS, Expression

NEUTRAL, HAPPINESS, ANGER = Expression.NEUTRAL, Expression.HAPPINESS, Expression.ANGER
TRUE = [HAPPINESS, HAPPINESS, HAPPINESS, ANGER]
PREDICTED = [HAPPINESS, HAPPINESS, ANGER, None]


def test_accuracy_counts_a_missing_prediction_as_wrong():
    assert metrics.accuracy(TRUE, PREDICTED) == 0.5


def test_recalls_are_per_expression_and_none_without_faces():
    recalls = metrics.recalls(TRUE, PREDICTED)
    assert recalls[HAPPINESS] == pytest.approx(2 / 3)
    assert recalls[ANGER] == 0.0
    assert recalls[NEUTRAL] is None


def test_balanced_accuracy_is_the_mean_recall_of_expressions_with_faces():
    assert metrics.balanced_accuracy(TRUE, PREDICTED) == pytest.approx(1 / 3)


def test_macro_f1_is_the_mean_over_expressions_true_or_predicted():
    assert metrics.macro_f1(TRUE, PREDICTED) == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert metrics.macro_f1([HAPPINESS], [ANGER]) == 0.0


def test_confusion_has_a_last_column_for_faces_without_a_prediction():
    counts = metrics.confusion(TRUE, PREDICTED)
    assert counts.shape == (len(EXPRESSIONS), len(EXPRESSIONS) + 1)
    assert counts[EXPRESSIONS.index(ANGER), -1] == 1
    assert counts.sum() == len(TRUE)


def test_the_calibration_error_is_the_gap_of_confidence_and_accuracy():
    confidences = np.array([0.9, 0.9, 0.3, 1.0])
    correct = [True, False, False, True]
    assert metrics.calibration_error(confidences, correct, num_bins=10) == pytest.approx(
        (0.8 + 0.3 + 0.0) / 4
    )


def test_a_sure_and_right_model_has_no_calibration_error():
    assert metrics.calibration_error(np.ones(5), [True] * 5) == 0.0


@pytest.mark.parametrize("figure", [metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1])
def test_no_faces_give_no_figure(figure):
    assert figure([], []) is None
    assert metrics.calibration_error(np.array([]), []) is None
