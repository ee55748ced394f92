import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import cot, facs, prompt
from expllm.expressions import Expression
from expllm.sft import (
    CHANGED_RATE,
    HINTS_DROPPED_RATE,
    HINTS_FALSE_RATE,
    IGNORED,
    LABEL_FIRST_RATE,
    SEEN_WEIGHT,
    Example,
    examples,
    refusal,
    tokenise,
    weights,
)

AT_REST = dict.fromkeys(facs.COLUMNS, 0.0)
TRUE = {**AT_REST, "au06": 0.8, "au12": 0.9, "au12_left": 0.9, "au12_right": 0.9}
MEASURED = {**TRUE, "au06": 0.3}


def draw(count=400, measured=MEASURED, **options):
    return examples(TRUE, measured, Expression.HAPPINESS, random.Random(1), count=count, **options)


def whole(drawn):
    """Those whose answers are the model's from the first word on."""
    return [e for e in drawn if e.answer.startswith(cot.begin(cot.KEY_OBSERVATIONS))]


def begun(drawn, head):
    """Those whose answers are given up to this head's end: each whole answer, and what is learnt of it."""
    found = [e for e in drawn if e.prompt.endswith(cot.begin(head))]
    return [(e.prompt.partition("<|im_start|>assistant\n")[2] + e.answer, e) for e in found]


def encode(text):
    return list(text.encode())


def test_answers_are_written_from_the_true_movements_whatever_the_hints_say():
    for example in whole(draw(label_only_rate=0)):
        chain = cot.parse(example.answer, truncated=False)
        assert isinstance(chain, cot.ChainOfThought)
        named = {(o.number, o.strength) for o in cot.observations(chain.key_observations)}
        assert named == {(6, facs.Strength.STRONG), (12, facs.Strength.STRONG)}


def test_a_label_only_answer_is_what_the_label_question_asks_for():
    asked = {(e.prompt.endswith("**Expression:**"), e.answer) for e in draw(label_only_rate=1)}
    assert asked == {(True, " Happiness")}


def test_the_share_of_label_only_examples_is_the_callers():
    drawn = draw(label_only_rate=0.25)
    assert 0.18 < sum(e.answer == " Happiness" for e in drawn) / len(drawn) < 0.32


def test_hints_are_left_out_in_part_of_the_examples():
    drawn = draw()
    assert all(e.hints_given == ("Measured:" in e.prompt) for e in drawn)
    assert abs(sum(not e.hints_given for e in drawn) / len(drawn) - HINTS_DROPPED_RATE) < 0.07


def test_some_hints_are_false_by_one_movement():
    hinted = [e.prompt for e in draw(label_only_rate=0) if e.hints_given]
    true = prompt.explain(MEASURED)
    false = [text for text in hinted if not text.startswith(true)]
    assert abs(len(false) / 400 - HINTS_FALSE_RATE) < 0.05
    counts = {text.split("Measured:")[1].split("\n")[0].count(",") + 1 for text in false}
    assert counts == {1, 3}


def test_without_measurements_there_are_no_hints():
    assert not any(e.hints_given for e in draw(measured=None))


def test_the_published_order_has_the_label_first():
    assert draw(count=1, label_only_rate=0, label_first=True)[0].answer.startswith(
        "**Expression:** Happiness\n"
    )


def test_part_of_the_chains_begin_with_other_observations_and_end_in_their_label():
    drawn = draw(label_only_rate=0)
    changed = begun(drawn, cot.INTERPRETATION)
    assert abs(len(changed) / len(drawn) - CHANGED_RATE) < 0.05
    for answer, example in changed:
        chain = cot.parse(answer, truncated=False)
        named = {o.number for o in cot.observations(chain.key_observations)}
        assert named != {6, 12} and chain.expression is not Expression.HAPPINESS
        assert cot.KEY_OBSERVATIONS not in example.answer


def test_part_of_the_chains_begin_with_the_label():
    drawn = draw(label_only_rate=0)
    first = begun(drawn, cot.EXPRESSION)
    assert abs(len(first) / len(drawn) - LABEL_FIRST_RATE) < 0.04
    assert {cot.parse(answer, truncated=False).expression for answer, _ in first} == {Expression.HAPPINESS}


def test_a_face_at_rest_gets_a_movement_where_its_chain_is_changed():
    drawn = examples(AT_REST, None, Expression.NEUTRAL, random.Random(1), count=200, label_only_rate=0)
    assert not begun(drawn, cot.INTERPRETATION)  # nothing is there to be removed or swapped


GIVEN = cot.ChainOfThought(
    "clear lip corner puller (happiness).", "It points to happiness.", "A happy face.", Expression.HAPPINESS
)


def test_a_text_that_was_given_is_the_answer_and_its_label_is_asked_for_too():
    drawn = draw(chain=GIVEN)
    assert {e.answer for e in whole(drawn)} == {cot.render(GIVEN)}
    assert 0.18 < sum(e.answer == " Happiness" for e in drawn) / len(drawn) < 0.32


def test_a_face_of_unknown_truth_has_its_chain_changed_by_what_was_measured():
    drawn = examples(
        None, MEASURED, Expression.HAPPINESS, random.Random(1), chain=GIVEN, count=400, label_only_rate=0
    )
    assert len(begun(drawn, cot.INTERPRETATION)) > 20 and {e.answer for e in whole(drawn)} == {
        cot.render(GIVEN)
    }


def test_a_given_text_of_a_face_that_nothing_was_measured_on_is_never_changed():
    drawn = examples(
        None, None, Expression.HAPPINESS, random.Random(1), chain=GIVEN, count=200, label_only_rate=0
    )
    assert not begun(drawn, cot.INTERPRETATION) and begun(drawn, cot.EXPRESSION)


def test_a_label_alone_makes_questions_for_the_label_alone():
    drawn = examples(None, MEASURED, Expression.FEAR, random.Random(1), count=50, label_only_rate=0)
    assert {e.answer for e in drawn} == {" Fear"}


def test_one_seed_gives_the_same_examples():
    assert draw() == draw()


@given(st.text(), st.text())
def test_only_the_answer_and_the_end_of_its_turn_count_towards_the_loss(asked, answer):
    ids, targets = tokenise(Example(asked, answer, hints_given=False), encode)
    start = len(encode(asked))
    assert bytes(ids).decode() == asked + answer + prompt.END
    assert targets == [IGNORED] * start + ids[start:]


@pytest.mark.parametrize("label_first", [False, True])
def test_what_is_seen_counts_more_than_the_wording_of_what_it_means(label_first):
    drawn = draw(label_only_rate=0, label_first=label_first)
    example = drawn[0] if label_first else whole(drawn)[0]
    ids, _ = tokenise(example, encode)
    counted = weights(example, encode)
    assert len(counted) == len(ids)
    heavy = bytes(i for i, weight in zip(ids, counted, strict=True) if weight == SEEN_WEIGHT).decode()
    light = bytes(i for i, weight in zip(ids, counted, strict=True) if weight == 1).decode()
    assert "strong cheek raiser" in heavy and "**Expression:** Happiness" in heavy
    assert light.startswith("**Overall Emotional Interpretation:**")


def test_a_label_that_the_answer_is_begun_for_counts_as_what_is_seen():
    _, example = begun(draw(label_only_rate=0), cot.EXPRESSION)[0]
    counted = weights(example, encode)
    assert len(counted) == len(tokenise(example, encode)[0])
    asked = len(encode(example.prompt))
    assert counted[asked : asked + len(" Happiness")] == [SEEN_WEIGHT] * len(" Happiness")


def test_an_answer_without_sections_counts_alike_throughout():
    example = refusal(MEASURED, random.Random(1))
    assert set(weights(example, encode)[len(encode(example.prompt)) :]) == {1.0}


def test_where_no_face_is_seen_the_answer_says_so_whatever_the_hints_say():
    drawn = [refusal(MEASURED, random.Random(seed)) for seed in range(40)]
    assert {e.answer for e in drawn} == {cot.NOT_VISIBLE}
    assert {e.hints_given for e in drawn} == {True, False}
