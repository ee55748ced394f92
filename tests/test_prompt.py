from hypothesis import given
from hypothesis import strategies as st

from expllm import cot, facs, prompt
from expllm.expressions import EXPRESSIONS

FACES = st.fixed_dictionaries({column: st.floats(0, 1) | st.none() for column in facs.COLUMNS})
AT_REST = dict.fromkeys(facs.COLUMNS, 0.0)


def test_a_prompt_without_hints_is_the_picture_and_the_question():
    assert prompt.explain(None) == (
        "<|im_start|>user\n<image>\nExplain the expression.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_label_question_ends_right_before_the_label():
    assert prompt.ask_label(None).endswith("assistant\n**Expression:**")
    assert set(prompt.label_words()) == set(EXPRESSIONS)
    assert prompt.label_words()[EXPRESSIONS[1]] == " Happiness"


def test_label_words_differ_within_their_first_four_letters():
    assert len({word[:4] for word in prompt.label_words().values()}) == len(EXPRESSIONS)


@given(FACES | st.none())
def test_both_questions_share_all_that_stands_before_them(hints):
    shared, question, _ = prompt.explain(hints).partition("Explain the expression.")
    assert question
    assert shared.count(prompt.IMAGE) == 1
    assert prompt.ask_label(hints).removeprefix(shared).startswith("Name the expression.")


@given(FACES)
def test_hints_name_every_movement_that_a_text_may_name(hints):
    named = cot.observations(prompt.explain(hints).split("Measured:")[1].split("\n")[0])
    assert [(o.number, o.side, o.strength) for o in named] == [
        (m.number, m.side, facs.strength(m.intensity)) for m in facs.movements(hints)
    ]


def test_hints_read_as_one_line_from_the_top_of_the_face_down():
    hints = {**AT_REST, "au26": 0.8, "au01": 0.15, "au14_left": 0.5}
    line = "Measured: faint inner brow raiser, clear left dimpler, strong jaw drop.\n"
    assert line in prompt.explain(hints)


def test_a_face_at_rest_is_hinted_as_such():
    assert "Measured: no movement.\n" in prompt.explain(AT_REST)


def test_the_prompt_id_is_short_and_hexadecimal():
    assert len(prompt.prompt_id(hints=True)) == 12
    assert int(prompt.prompt_id(hints=True), 16) >= 0


def test_rows_made_without_hints_say_so():
    assert prompt.prompt_id(hints=False) == f"{prompt.prompt_id(hints=True)}-no-hints"
