import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import metrics
from expllm.datasets import LabelledFace
from expllm.evaluation.answers import Said
from expllm.evaluation.calibration import fit_temperature, refitted_error
from expllm.evaluation.figures import FIGURES, Columns, by_class, columns, reliability
from expllm.expressions import EXPRESSIONS, Expression
from tests.evaluation.scripted import FROWN, SMILE

HAPPINESS, ANGER = Expression.HAPPINESS, Expression.ANGER
LABELS = st.lists(
    st.tuples(st.sampled_from(EXPRESSIONS), st.sampled_from([*EXPRESSIONS, None])), min_size=1, max_size=30
)
SMILING = "strong lip corner puller, strong cheek raiser (happiness)."


def of(pairs: list[tuple[Expression, Expression | None]]) -> Columns:
    faces = [LabelledFace("a.jpg", true) for true, _ in pairs]
    return columns(faces, [Said(expression=label) for _, label in pairs], [None] * len(pairs))


@given(LABELS)
def test_figures_of_labels_are_those_of_metrics(pairs: list[tuple[Expression, Expression | None]]) -> None:
    true, predicted = zip(*pairs, strict=True)
    found = of(pairs)
    assert (found.confusion() == metrics.confusion(true, predicted)).all()
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert FIGURES[name](found) == pytest.approx(getattr(metrics, name)(true, predicted))


@given(LABELS, st.data())
def test_a_selection_is_measured_as_if_it_were_all(
    pairs: list[tuple[Expression, Expression | None]], data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1))
    taken = of(pairs).take(np.array(places))
    assert FIGURES["accuracy"](taken) == FIGURES["accuracy"](of([pairs[place] for place in places]))


def test_a_text_is_compared_with_true_movements_where_the_data_know_them() -> None:
    said = [Said(HAPPINESS, key_observations=SMILING, parsed=True)]
    known = columns([LabelledFace("a", HAPPINESS, action_units=SMILE)], said, [FROWN])
    assert (FIGURES["au_precision"](known), FIGURES["au_recall"](known)) == (1.0, 1.0)
    assert (FIGURES["au_precision_measured"](known), FIGURES["au_recall_measured"](known)) == (0.0, 0.0)
    unknown = columns([LabelledFace("a", HAPPINESS)], said, [FROWN])
    assert FIGURES["au_precision"](unknown) == 0.0


def test_a_face_that_is_not_found_is_wrong_and_has_no_text() -> None:
    faces = [LabelledFace("a", HAPPINESS, action_units=SMILE)] * 2
    found = columns(faces, [Said(reason="no_face"), Said(HAPPINESS, parsed=True)], [None, SMILE])
    assert FIGURES["accuracy"](found) == 0.5
    assert FIGURES["parsed"](found) == 1.0
    assert FIGURES["au_precision"](found) is None


def test_calibration_is_told_before_and_after_the_temperature() -> None:
    sure = {e: math.log(0.93 if e is HAPPINESS else 0.01) for e in EXPRESSIONS}
    faces = [LabelledFace("a", HAPPINESS), LabelledFace("b", ANGER)]
    found = columns(faces, [Said(HAPPINESS, label_logprobs=sure)] * 2, [None] * 2, temperature=4.0)
    assert FIGURES["calibration_error_before"](found) == pytest.approx(0.43)
    assert FIGURES["calibration_error"](found) < 0.2


def test_no_faces_give_no_figures() -> None:
    assert {figure(of([])) for figure in FIGURES.values()} == {None}
    assert reliability(of([])) == []


def test_each_expression_has_its_recall_precision_and_f1() -> None:
    rows = {
        row["expression"]: row
        for row in by_class(of([(HAPPINESS, HAPPINESS), (ANGER, HAPPINESS)]).confusion())
    }
    assert (rows["happiness"]["recall"], rows["happiness"]["precision"]) == (1.0, 0.5)
    assert rows["happiness"]["f1"] == pytest.approx(2 / 3)
    assert (rows["anger"]["recall"], rows["anger"]["precision"]) == (0.0, None)
    assert rows["fear"]["faces"] == 0


def test_bins_of_confidence_tell_how_many_are_right() -> None:
    scores = {e: math.log(0.86 if e is HAPPINESS else 0.02) for e in EXPRESSIONS}
    faces = [LabelledFace("a", HAPPINESS), LabelledFace("b", ANGER)]
    found = columns(faces, [Said(HAPPINESS, label_logprobs=scores)] * 2, [None] * 2)
    assert reliability(found) == [{"confidence": pytest.approx(0.86), "accuracy": 0.5, "faces": 2}]


def test_a_temperature_fitted_on_one_half_calms_the_other() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 8, 400)
    logits = np.where(np.arange(8) == true[:, None], 1.0, 0.0) + rng.normal(0, 0.7, (400, 8))
    logprobs = 8 * logits - np.log(np.exp(8 * logits).sum(axis=1, keepdims=True))
    predicted = logprobs.argmax(axis=1)
    people = [f"{place // 4}" for place in range(400)]
    before = metrics.calibration_error(np.exp(logprobs.max(axis=1)), predicted == true)
    refitted = refitted_error(logprobs, true, predicted, people)
    assert refitted is not None and before is not None and refitted < before / 3
    assert fit_temperature(logprobs.astype(np.float32), true) > 3
    assert refitted_error(logprobs, true, predicted, ["one"] * 400) is None
