from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.control_measures import (
    FALSE_INTENSITY,
    Asked,
    false_movement,
    measure,
    names,
    other_face,
    read,
    with_movement,
)
from benchmarks.pictures import Picture
from expllm import cot
from expllm.cot import ChainOfThought
from expllm.errors import Reject
from expllm.expressions import Expression
from expllm.facs import ACTION_UNITS, COLUMNS, movements
from expllm.labels import Answer

HAPPINESS, ANGER = Expression.HAPPINESS, Expression.ANGER
REST = dict.fromkeys(COLUMNS, 0.0)
SMILE = REST | {"au06": 0.7, "au12": 0.8, "au12_left": 0.8, "au12_right": 0.8}


def text(observations: str, expression: Expression = HAPPINESS) -> ChainOfThought:
    return ChainOfThought(observations, "It is weighed.", f"The face shows {expression}.", expression)


SMILING = text("strong lip corner puller, strong cheek raiser (happiness).")
WITH_FROWN = text("strong lip corner puller (happiness); clear brow lowerer (anger).")
ANGRY = text("clear brow lowerer (anger).", ANGER)
ASKED = Asked(
    picture=Picture(Path("a.jpg"), HAPPINESS, "1", SMILE),
    hints=SMILE,
    false=4,
    other=Picture(Path("b.jpg"), ANGER, "2", REST),
    text=SMILING,
    text_blank=SMILING,
    text_false=SMILING,
    text_other=SMILING,
)


def test_a_blank_picture_whose_text_repeats_the_hints_is_counted_as_following_them() -> None:
    controls = measure([ASKED, replace(ASKED, text_blank=text("No movement stands out.", HAPPINESS))])
    assert controls.blank_picture_says_so == 0.0
    assert controls.blank_picture_movements_from_hints == 1.0
    assert controls.blank_picture_hints_repeated == 0.5
    assert controls.blank_picture_label_right == 1.0


def test_a_blank_picture_that_is_called_so_has_no_label() -> None:
    controls = measure([replace(ASKED, text_blank=Reject.FACE_NOT_VISIBLE)])
    assert controls.blank_picture_says_so == 1.0
    assert controls.blank_picture_text_unreadable == 0.0
    assert controls.blank_picture_movements_from_hints is None
    assert controls.blank_picture_label_right == 0.0


def test_a_false_hint_is_repeated_where_the_text_names_its_movement() -> None:
    controls = measure([ASKED, replace(ASKED, text_false=WITH_FROWN), replace(ASKED, text_false=ANGRY)])
    assert controls.false_hint_repeated == pytest.approx(2 / 3)
    assert controls.false_hint_movement_named_without_it == 0.0
    assert controls.false_hint_changes_label == pytest.approx(1 / 3)


def test_with_another_faces_hints_the_label_is_one_faces_or_neithers() -> None:
    controls = measure(
        [ASKED, replace(ASKED, text_other=ANGRY), replace(ASKED, text_other=Reject.TEXT_MALFORMED)]
    )
    assert controls.other_hints_label_of_picture == pytest.approx(1 / 3)
    assert controls.other_hints_label_of_hints == pytest.approx(1 / 3)


def test_texts_outside_the_grammar_are_counted_and_not_measured() -> None:
    controls = measure([replace(ASKED, text_blank=Reject.TEXT_TRUNCATED, text_false=Reject.TEXT_MALFORMED)])
    assert controls.blank_picture_text_unreadable == 1.0
    assert controls.blank_picture_says_so == 0.0
    assert controls.false_hint_repeated is None


@pytest.mark.parametrize("seed", range(30))
def test_a_false_movement_is_not_on_the_face(seed: int) -> None:
    assert false_movement(SMILE, seed) not in {6, 12, None}


def test_a_face_that_shows_everything_has_no_false_movement() -> None:
    assert false_movement(dict.fromkeys(COLUMNS, 0.5), seed=0) is None


@pytest.mark.parametrize("number", ACTION_UNITS)
def test_an_added_movement_is_read_as_one_more_hint(number: int) -> None:
    (added,) = movements(with_movement(REST, number))
    assert (added.number, added.intensity) == (number, FALSE_INTENSITY)


def test_the_other_face_is_another_person_with_another_expression() -> None:
    shown = [
        Picture(Path("a.jpg"), HAPPINESS, "1"),
        Picture(Path("b.jpg"), ANGER, "1"),
        Picture(Path("c.jpg"), HAPPINESS, "2"),
        Picture(Path("d.jpg"), ANGER, "2"),
    ]
    assert [other_face(shown, index) for index in range(4)] == [3, 2, 1, 0]
    with pytest.raises(ValueError, match="no other person"):
        other_face(shown[:2], 0)


def test_a_denied_movement_is_not_named() -> None:
    assert names(WITH_FROWN, 4)
    assert not names(text("strong cheek raiser, no brow lowerer (happiness)."), 4)


def test_an_answer_is_read_or_there_is_a_reason() -> None:
    answer = Answer(cot.render(SMILING), prompt_tokens=9, generated_tokens=60, label_logprobs={})
    assert read(answer) == SMILING
    assert read(replace(answer, text="A smile.")) is Reject.TEXT_MALFORMED
