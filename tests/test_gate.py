"""What a training recorded is held against an engine's answers, and each difference is named."""

from dataclasses import replace

import pytest

from expllm import gate
from expllm.errors import CallerError

EXACT, LOOSE = gate.TOLERANCES["float32"], gate.TOLERANCES["bfloat16"]
READING = gate.Reading(
    prompt_id="p", preprocessing="q", faces="f", questions=((1, 2), (3,)), label_tokens=tuple(range(8))
)
SCORES = (gate.Scores(labels=(-0.1, *[-5.0] * 7), text=(-0.2, -0.3)),)
WITHOUT = (gate.Scores(labels=(-0.4, *[-4.0] * 7), text=(-1.0, -2.0)),)
RECORD = gate.Record(
    base="base",
    base_id="0",
    reading=READING,
    texts=((7, 8),),
    text_labels=("neutral",),
    scores=SCORES,
    adapters={"language model": gate.Adapter(norm=1.0, scores_without=WITHOUT)},
)
SAME = gate.Answers(READING.questions, SCORES, ((True, True),), ("neutral",))


def moved(by):
    return tuple(
        gate.Scores(labels=[x - by for x in s.labels], text=[x - by for x in s.text]) for s in SCORES
    )


def told(answers, allowed=EXACT, again=SCORES):
    return "; ".join(gate.disagreements(RECORD, again, answers, allowed))


def test_an_engine_that_answers_as_the_trainer_did_is_let_through():
    assert not [*gate.misread(READING, READING), *gate.idle(RECORD)]
    assert told(SAME) == told(SAME, LOOSE) == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"prompt_id": "other"}, "trained on prompt p, and this version asks prompt other"),
        ({"preprocessing": "other"}, "preprocessing.json"),
        ({"faces": "other"}, "frozen faces"),
        ({"questions": ((1, 2), (4,))}, "1 of 2 frozen prompts into other tokens"),
        ({"questions": ((1, 2), (3,), (4,))}, "1 of 3 frozen prompts into other tokens"),
        ({"label_tokens": tuple(range(1, 9))}, "labels into other tokens"),
    ],
)
def test_whatever_would_reach_the_model_otherwise_is_named(changed, reason):
    (told_reason,) = gate.misread(READING, READING.model_copy(update=changed))
    assert reason in told_reason


@pytest.mark.parametrize(
    "adapter",
    [gate.Adapter(norm=0, scores_without=WITHOUT), gate.Adapter(norm=1.0, scores_without=SCORES)],
    ids=["without weight", "without effect"],
)
def test_an_adapter_that_changes_nothing_is_named(adapter):
    (reason,) = gate.idle(RECORD.model_copy(update={"adapters": {"encoder": adapter}}))
    assert "adapter of the encoder changes nothing" in reason


def test_an_engine_that_answers_as_without_the_adapter_ignores_it():
    ignoring = replace(SAME, scores=WITHOUT)
    for allowed in (EXACT, LOOSE):
        assert "adapter of the language model is ignored" in told(ignoring, allowed, again=WITHOUT)


def test_in_float32_a_small_difference_from_the_same_files_is_too_much():
    near = replace(SAME, scores=moved(0.01))
    assert "more than 0.001" in told(near)
    assert told(near, LOOSE) == ""


def test_files_that_lost_what_was_trained_are_noticed_though_the_engine_reads_them_right():
    lost = moved(0.3)
    assert "away from the trainer's on average" in told(replace(SAME, scores=lost), again=lost)


def test_another_label_is_named_unless_the_two_are_as_good_as_equal():
    other = gate.Scores(labels=(-5.0, -0.1, *[-5.0] * 6), text=SCORES[0].text)
    assert "face 1 is happiness by the engine, neutral by the trainer" in told(replace(SAME, scores=(other,)))
    tied = gate.Scores(labels=(-0.7, -0.71, *[-5.0] * 6), text=SCORES[0].text)
    turned = gate.Scores(labels=(-0.71, -0.7, *[-5.0] * 6), text=SCORES[0].text)
    record = RECORD.model_copy(update={"scores": (tied,), "adapters": {}})
    assert not list(gate.disagreements(record, (tied,), replace(SAME, scores=(turned,)), LOOSE))


def test_other_texts_and_other_prompts_are_named():
    assert "1 of 2 tokens" in told(replace(SAME, are_first=((True, False),)))
    assert "texts end in no label by the engine, in neutral" in told(replace(SAME, text_labels=(None,)))
    assert "the engine turns 1 of 2" in told(replace(SAME, questions=((1, 2), (3, 3))))


def test_a_record_is_read_as_it_was_written(tmp_path):
    RECORD.write(tmp_path)
    assert gate.Record.read(tmp_path) == RECORD


@pytest.mark.parametrize(("text", "reason"), [(None, "expllm train"), ("{", "JSON"), ("{}", "base")])
def test_a_missing_or_broken_record_is_the_callers_mistake(text, reason, tmp_path):
    if text is not None:
        (tmp_path / gate.FILE).write_text(text)
    with pytest.raises(CallerError, match=reason) as refused:
        gate.Record.read(tmp_path)
    assert "\n" not in str(refused.value)
