import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import cot, facs, labels, tables
from expllm.errors import Reject
from expllm.expressions import EXPRESSIONS, Expression
from expllm.labels import Answer, label_face, photograph_row
from expllm.prompt import MAX_ANSWER_TOKENS

LOGPROBS = {e: -8.0 for e in EXPRESSIONS} | {Expression.HAPPINESS: -0.1, Expression.SURPRISE: -2.5}
TEXT = cot.render(
    cot.ChainOfThought(
        "strong lip corner puller (happiness); faint right dimpler (contempt).",
        "The lip corner puller points to happiness in spite of the right dimpler; contempt is far behind.",
        "The face shows happiness.",
        Expression.HAPPINESS,
    )
)
FACE = {
    "photo_uri": "s3://photos/a.jpg",
    "photo_id": "00",
    "face_index": 0,
    "face_id": "00-0",
    "box_px": [1.0, 2.0, 30.0, 40.0],
    "action_units": {**dict.fromkeys(facs.COLUMNS, 0.0), "au12_left": 0.9, "au12_right": 0.9, "au06": 0.5},
    "attempts": 1,
    "model_id": "m",
    "labelled_at": datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC),
    "landmarks_px": "not a column",
}


def answer(text=TEXT, *, generated_tokens=90, logprobs=LOGPROBS):
    return Answer(text, 60, generated_tokens, logprobs)


def test_a_labelled_face_has_its_chain_and_its_label():
    row = label_face(FACE, answer())
    assert row["expression"] == "happiness"
    assert row["outcome"] == "labelled"
    assert row["reject_reason"] is None
    assert (row["dominant"], row["secondary"]) == ("happiness", "contempt")
    assert row["observations"] == [
        {"au": 12, "side": "both", "strength": "strong", "associated": ["happiness"]},
        {"au": 14, "side": "right", "strength": "faint", "associated": ["contempt"]},
    ]
    assert (row["au_precision"], row["au_recall"]) == (0.5, 0.5)
    assert (row["prompt_tokens"], row["generated_tokens"]) == (60, 90)


def test_the_confidence_is_the_calibrated_score_of_the_chains_label():
    row = label_face(FACE, answer(logprobs={**LOGPROBS, Expression.ANGER: -0.05}), temperature=2.0)
    assert row["confidence"] == row["expression_scores"]["happiness"] < row["expression_scores"]["anger"]
    assert row["label_only_agrees"] is False


@given(st.dictionaries(st.sampled_from(EXPRESSIONS), st.floats(-1000, 0), min_size=1), st.floats(0.1, 10))
def test_scores_are_probabilities_in_the_order_of_the_logprobs(logprobs, temperature):
    scores = labels.scores(logprobs, temperature=temperature)
    assert sum(scores.values()) == pytest.approx(1)
    assert set(scores) == set(EXPRESSIONS)
    assert scores[max(logprobs, key=logprobs.__getitem__)] == max(scores.values())


def test_a_higher_temperature_makes_scores_less_sure():
    sure, unsure = (labels.scores(LOGPROBS, temperature=t)[Expression.HAPPINESS] for t in (1.0, 3.0))
    assert sure > unsure


def test_without_label_logprobs_the_label_stands_without_a_confidence():
    row = label_face(FACE, answer(logprobs={}))
    assert row["expression"] == "happiness"
    assert row["confidence"] is row["expression_scores"] is row["label_only_agrees"] is None


def test_without_action_units_there_is_no_agreement():
    row = label_face({**FACE, "action_units": None}, answer())
    assert row["au_precision"] is row["au_recall"] is None


@pytest.mark.parametrize(
    ("given_answer", "reason"),
    [
        (answer("The face is happy."), "text_malformed"),
        (answer(generated_tokens=MAX_ANSWER_TOKENS), "text_truncated"),
        (Reject.GENERATION_FAILED, "generation_failed"),
    ],
)
def test_an_unreadable_answer_is_never_labelled(given_answer, reason):
    row = label_face(FACE, given_answer)
    assert (row["outcome"], row["reject_reason"]) == ("rejected", reason)
    told = (
        "expression",
        "confidence",
        "expression_scores",
        "key_observations",
        "dominant",
        "label_only_agrees",
    )
    assert all(row[column] is None for column in told)
    assert row["face_id"] == "00-0"


@pytest.mark.parametrize(
    ("reason", "outcome", "written"),
    [(None, "no_face", None), (Reject.CORRUPT, "rejected", "corrupt")],
)
def test_a_photograph_without_a_face_has_one_row_of_its_own(reason, outcome, written):
    row = photograph_row({"photo_uri": "a.jpg", "photo_id": "00"}, reason)
    assert (row["outcome"], row["reject_reason"], row["face_index"]) == (outcome, written, None)


def test_every_kind_of_row_fits_the_table():
    rows = [
        label_face(FACE, answer()),
        label_face(FACE, Reject.GENERATION_FAILED),
        photograph_row({"photo_uri": "a.jpg"}, None),
    ]
    assert all(list(row) == tables.LABELS.names for row in rows)
    assert pa.Table.from_pylist(rows, schema=tables.LABELS).num_rows == 3
