"""A chat model as teacher, whose answers are given and whose calls are kept."""

import json

import pytest

from expllm import cot, facs
from expllm.exp_cot.asked import ChatTeacher, prompts_id
from expllm.exp_cot.calls import Completion
from expllm.exp_cot.rounds import Attempt, Case, explain
from expllm.expressions import Expression

SMILE = {**dict.fromkeys(facs.COLUMNS, 0.0), **dict.fromkeys(("au12", "au12_left", "au12_right"), 0.9)}
GOOD = (
    "**Key Observations:** strong lip corner puller (happiness).\n"
    "**Overall Emotional Interpretation:** The lip corner puller alone points to happiness."
)
DONE = f"{GOOD}\n**Conclusion:** The face shows happiness.\n**Expression:** Happiness"


class Model:
    """Gives its answers one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def __call__(self, call):
        self.calls.append(call)
        return Completion(self.answers.pop(0), 10, 5)

    @property
    def heard(self):
        return [" ".join(message.content for message in call.messages) for call in self.calls]


def teacher(model):
    return ChatTeacher(model, "m", {"temperature": 0.0})


def test_a_face_that_passes_at_once_takes_three_calls():
    model = Model(GOOD, "Happiness", DONE)
    explained = explain(SMILE, Expression.HAPPINESS, teacher(model))
    assert explained.is_verified and explained.chain == cot.parse(DONE, truncated=False)
    assert [(call.model, call.parameters) for call in model.calls] == [("m", {"temperature": 0.0})] * 3


def test_the_reader_gets_nothing_but_the_description():
    model = Model("Happiness")
    teacher(model).guess(GOOD)
    assert [message.content for message in model.calls[0].messages[1:]] == [GOOD]


@pytest.mark.parametrize(
    ("answer", "guess"),
    [
        ("Happiness", Expression.HAPPINESS),
        ("**Fear**.", Expression.FEAR),
        ("The face looks angry.", Expression.ANGER),
        ("Fear or surprise", None),
        ("banana", None),
        ("", None),
    ],
)
def test_a_guess_is_one_expression_or_none(answer, guess):
    assert teacher(Model(answer)).guess("a face") is guess


def test_the_movements_are_told_in_the_words_of_the_table():
    model = Model(GOOD)
    teacher(model).describe(Case({**SMILE, "au04": 0.15, "au01": 0.05}))
    assert model.calls[0].messages[-1].content == "Movements: faint brow lowerer, strong lip corner puller."


def test_a_later_round_has_the_whole_course_before_it():
    model = Model(GOOD)
    first, second = Attempt("D1", None, ("wrong.",), "F1"), Attempt("", None, (), "F2")
    teacher(model).describe(Case(SMILE, (first, second)))
    roles = [message.role for message in model.calls[0].messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    _, _, d1, f1, d2, f2 = (message.content for message in model.calls[0].messages)
    assert d1 == "D1" and "wrong. F1" in f1
    assert d2 == "(cut off)" and "F2" in f2


def test_the_label_is_not_in_any_call_before_it_was_guessed():
    model = Model(*["I see a face.", "Contempt", "Too little."] * 2, "I see a face.", "Contempt")
    explained = explain(SMILE, Expression.HAPPINESS, teacher(model))
    assert explained.chain is None and len(model.calls) == 8
    told = [text for text in model.heard if "shows happiness" in text or "is happiness" in text]
    assert told == []


def test_a_steered_teacher_is_told():
    model = Model(GOOD, "Contempt", "Too little.", GOOD, "Happiness", DONE)
    assert explain(SMILE, Expression.HAPPINESS, teacher(model), label_steered=True).is_verified
    assert "The face shows happiness." in model.heard[2]
    assert "The face shows happiness." in model.heard[3]
    assert "The face shows happiness." not in model.heard[4]


def test_a_cut_off_answer_is_a_fault_and_no_text():
    model = Model(*["", "Happiness", "I stopped."] * 2, "", "Happiness")
    explained = explain(SMILE, Expression.HAPPINESS, teacher(model))
    assert explained.chain is None and explained.faults == ("It leaves out: lip corner puller.",)


def test_other_parameters_make_another_teacher():
    ids = {json.dumps(p): prompts_id(p) for p in ({}, {"temperature": 0.0}, {"temperature": 1.0})}
    assert len(set(ids.values())) == 3
