"""What data sets and instruction rows say of a face becomes one lesson, and every other row is counted."""

from dataclasses import replace

import pytest

from expllm import cot
from expllm.datasets import Dataset, LabelledFace
from expllm.errors import CallerError, Reject
from expllm.exp_cot.instructions import NoText, described, face_key
from expllm.exp_cot.lessons import gather
from expllm.expressions import Expression
from expllm.facs import COLUMNS
from expllm.tables import INSTRUCTIONS

SMILE = LabelledFace("a.png", Expression.HAPPINESS, box_px=(1, 2, 30, 40), person="7")
TEXT = cot.render(
    cot.ChainOfThought("clear lip corner puller.", "It points to joy.", "A smile.", Expression.HAPPINESS)
)


def instruction(face, text=TEXT, **more):
    found = {**described(face), "box_px": [1.0, 2.0, 30.0, 40.0], "text": text}
    return {**dict.fromkeys(INSTRUCTIONS.names), **found, **more}


def data(*faces, **rejected):
    return Dataset("mine", faces, {Reject(reason): number for reason, number in rejected.items()})


def test_an_instruction_row_is_a_lesson_of_its_own():
    (lesson,) = gather([], [instruction(SMILE)]).lessons
    assert lesson.text == TEXT and lesson.is_explained
    assert lesson.face.expression is Expression.HAPPINESS and lesson.face.person == "7"


def test_a_face_of_a_data_set_takes_its_text_from_the_instructions():
    units = dict.fromkeys(COLUMNS, 0.5)
    known = replace(SMILE, image=b"pixels", action_units=units)
    (lesson,) = gather([data(known)], [instruction(SMILE)]).lessons
    assert lesson.text == TEXT and lesson.face.image == b"pixels"
    assert lesson.row["true_units"] == units and lesson.key == face_key(SMILE)


def test_a_label_alone_explains_nothing_and_is_counted():
    found = gather([data(SMILE)], [])
    assert found.num_unexplained == 1 and not found.lessons[0].is_explained


def test_true_movements_can_be_explained_by_the_writer():
    assert gather([data(replace(SMILE, action_units=dict.fromkeys(COLUMNS, 0.0)))], []).num_unexplained == 0


@pytest.mark.parametrize(
    "text", ["no form at all", TEXT.replace("Happiness", "Fear").replace("A smile", "Fear")]
)
def test_a_text_that_cannot_be_learnt_leaves_its_face_with_the_label(text):
    for found in (
        gather([data(replace(SMILE, description=text))], []),
        gather([], [instruction(SMILE, text)]),
    ):
        assert [lesson.text for lesson in found.lessons] == [None]
        assert found.num_unread_texts == 1


def test_a_published_text_is_learnt_in_the_form_of_the_grammar():
    published = "\n\n".join(TEXT.splitlines()[:3]).replace("A smile", "The face shows happiness")
    (lesson,) = gather([data(replace(SMILE, description=published))], []).lessons
    assert lesson.text.endswith("**Expression:** Happiness")


def test_every_row_that_is_not_learnt_from_is_counted_by_its_reason():
    unlabelled = LabelledFace("b.png", None)
    missing = instruction(LabelledFace("c.png", Expression.FEAR), None, reject_reason=str(NoText.NOT_FOUND))
    strange = instruction(LabelledFace("d.png", Expression.FEAR), expression="bored")
    found = gather([data(SMILE, unlabelled, missing_file=2)], [missing, strange])
    assert found.rejected == {"missing_file": 2, "no_label": 1, "not_found": 1, "unknown_label": 1}


def test_only_the_split_of_the_training_is_learnt_from():
    held = LabelledFace("b.png", Expression.FEAR, person="8", split="test")
    found = gather([data(replace(SMILE, split="train"), held)], [])
    assert [lesson.face.photo for lesson in found.lessons] == ["a.png"] and found.num_held_out == 1


def test_a_split_that_leaks_people_is_refused():
    held = LabelledFace("b.png", Expression.FEAR, person="7", split="val")
    with pytest.raises(CallerError, match="1 person is on both sides"):
        gather([data(replace(SMILE, split="train"), held)], [])


def test_without_a_face_the_reasons_are_told():
    with pytest.raises(CallerError, match="no face is left to train on: 3 missing_file, 1 of other splits"):
        gather([data(replace(SMILE, split="test"), missing_file=3)], [])


def test_a_face_that_counts_twice_is_there_twice():
    assert len(gather([data(replace(SMILE, repeat=2))], []).lessons) == 2


def test_the_hash_changes_with_what_is_learnt_and_with_nothing_else():
    other = LabelledFace("b.png", Expression.FEAR)
    first = gather([data(SMILE, other)], [])
    assert first.data_id == gather([data(other), data(SMILE)], []).data_id
    assert first.data_id != gather([data(SMILE, other)], [instruction(SMILE)]).data_id
    assert first.data_id != gather([data(SMILE, replace(other, image=b"pixels"))], []).data_id
