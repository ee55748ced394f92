import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import cot, writer
from expllm.evaluation.chains import Change, edits, intensities, rewritten
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS

HAPPINESS, NEUTRAL = Expression.HAPPINESS, Expression.NEUTRAL
FACES = st.fixed_dictionaries({column: st.sampled_from([0.0, 0.0, 0.3, 0.6, 0.9]) for column in COLUMNS})


@given(FACES, st.sampled_from(EXPRESSIONS), st.integers(0, 99))
def test_observations_said_anew_name_the_same_movements(
    face: dict[str, float], label: Expression, seed: int
) -> None:
    named = cot.observations(writer.write(face, label, random.Random(seed)).key_observations)
    assert cot.observations(rewritten(named)) == named


@given(FACES, st.integers(0, 99))
def test_the_rule_gives_another_label_after_each_change(face: dict[str, float], seed: int) -> None:
    text = writer.write(face, writer.rule(face), random.Random(seed)).key_observations
    label = writer.rule(intensities(cot.observations(text)))
    for edit in edits(text, label):
        assert edit.should is writer.rule(intensities(cot.observations(edit.key_observations)))
        assert (edit.should is label) == (edit.change is Change.NONE)


@given(FACES, st.integers(0, 99))
def test_one_movement_is_changed(face: dict[str, float], seed: int) -> None:
    text = writer.write(face, writer.rule(face), random.Random(seed)).key_observations
    before = set(cot.observations(text))
    for edit in edits(text, writer.rule(intensities(cot.observations(text)))):
        after = set(cot.observations(edit.key_observations))
        new = {Change.NONE: 0, Change.REMOVED: 0, Change.SWAPPED: 1}[edit.change]
        assert (len(before - after), len(after - before)) == (int(edit.change is not Change.NONE), new)


def test_without_its_only_movement_a_face_is_to_be_neutral() -> None:
    removed = next(
        e for e in edits("strong lip corner puller (happiness).", HAPPINESS) if e.change is Change.REMOVED
    )
    assert (removed.key_observations, removed.should) == ("No movement stands out.", NEUTRAL)
    assert removed.begun.endswith("stands out.\n**Overall Emotional Interpretation:**")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("strong lip corner puller (happiness).", Expression.ANGER),
        ("lip corner puller (happiness).", HAPPINESS),
        ("strong lip corner puller on one side (contempt).", Expression.CONTEMPT),
    ],
)
def test_a_text_the_rule_cannot_judge_is_not_changed(text: str, label: Expression) -> None:
    assert edits(text, label) == []
