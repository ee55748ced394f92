import json

import pyarrow as pa

from expllm import facs
from expllm.config import Price
from expllm.datasets import LabelledFace
from expllm.errors import Reject
from expllm.exp_cot.calls import Meter
from expllm.exp_cot.instructions import NoText, described, explained_row, face_key, rejected_row
from expllm.exp_cot.report import lines, report
from expllm.exp_cot.rounds import Explained, explain
from expllm.exp_cot.written import WriterTeacher
from expllm.expressions import Expression
from expllm.tables import INSTRUCTIONS

FACE = LabelledFace("a.jpg", Expression.HAPPINESS, box_px=(1.0, 2.0, 3.0, 4.0), person="p", split="train")
SMILE = {
    **dict.fromkeys(facs.COLUMNS, 0.0),
    "au25": 0.12,
    **dict.fromkeys(("au12", "au12_left", "au12_right"), 0.9),
}
KNOWN = {**described(FACE), "action_units": SMILE, "teacher_id": "t", "measured_by": "m", "run_id": "r"}
PRICE = Price(prompt=1, answer=10)


def accepted(label=Expression.HAPPINESS, **more):
    explained = explain(SMILE, Expression.HAPPINESS, WriterTeacher("a"))
    row = explained_row({**KNOWN, "expression": str(label)}, explained, Meter(3, 3000, 200), PRICE)
    return {**row, **more}


def rejected(reason=NoText.NOT_ACCEPTED, guesses=(Expression.FEAR,) * 3):
    explained = Explained(None, tuple(guesses), is_verified=False, faults=("wrong.",))
    return explained_row(KNOWN, explained, Meter(), None) | {"reject_reason": str(reason)}


def test_a_row_fits_its_table():
    rows = [accepted(), rejected(), rejected_row(KNOWN, Reject.CORRUPT)]
    assert pa.Table.from_pylist(rows, schema=INSTRUCTIONS).num_rows == 3
    assert all(list(row) == INSTRUCTIONS.names for row in rows)


def test_an_accepted_row_says_what_it_took():
    row = accepted()
    assert row["text"].endswith("**Expression:** Happiness")
    assert (row["rounds"], row["guesses"], row["is_verified"], row["reject_reason"]) == (
        1,
        ["happiness"],
        True,
        None,
    )
    assert (row["calls"], row["cost"]) == (3, 0.005)


def test_a_rejected_row_has_no_text_and_says_why():
    row = rejected()
    assert (row["text"], row["reject_reason"], row["faults"]) == (None, "not_accepted", ["wrong."])


def test_a_failed_face_keeps_what_was_paid_for_it():
    row = rejected_row(KNOWN, NoText.TEACHER_FAILED, faults=["down"], meter=Meter(1, 10, 0), price=PRICE)
    assert (row["calls"], row["prompt_tokens"], row["cost"]) == (1, 10, 1e-5)


def test_the_key_tells_photograph_box_and_label_apart():
    others = [
        LabelledFace("b.jpg", FACE.expression, FACE.box_px),
        LabelledFace("a.jpg", Expression.FEAR, FACE.box_px),
        LabelledFace("a.jpg", None, FACE.box_px),
        LabelledFace("a.jpg", FACE.expression),
    ]
    assert len({face_key(FACE), *map(face_key, others)}) == 5
    assert face_key(FACE) == face_key(LabelledFace("a.jpg", FACE.expression, (1, 2, 3, 4), repeat=3))


def test_acceptance_is_counted_by_round_and_expression():
    rows = [accepted(), accepted(rounds=3), rejected(), rejected_row(KNOWN, NoText.NOT_FOUND)]
    told = report(rows, {"unknown_label": 2})
    assert (told["faces"], told["asked"], told["accepted"], told["accepted_rate"]) == (4, 3, 2, 2 / 3)
    assert told["accepted_in_round"] == {"1": 1, "2": 0, "3": 1}
    assert told["rejected"] == {"not_accepted": 1, "not_found": 1}
    assert told["unusable"] == {"unknown_label": 2}
    assert told["by_expression"]["happiness"]["faces"] == 4
    assert told["by_expression"]["fear"]["accepted_rate"] is None


def test_forced_texts_are_not_counted_as_accepted():
    told = report([accepted(is_verified=False)], {})
    assert (told["accepted"], told["forced"]) == (0, 1)


def test_the_blind_guess_is_judged_on_its_first_round():
    told = report([accepted(), rejected(), rejected(guesses=(None, Expression.HAPPINESS))], {})
    assert told["blind_guess"]["faces"] == 3
    assert told["blind_guess"]["accuracy"] == 1 / 3


def test_movements_are_compared_over_all_texts():
    units = report([accepted()], {})["action_units"]
    assert units == {"named": 1, "precision": 1.0, "recall": 1.0, "recall_of_all": 0.5}


def test_the_labels_word_before_the_conclusion_is_leakage():
    assert report([accepted()], {})["label_leakage"] == {"key_observations": 1.0, "interpretation": 1.0}
    quiet = accepted()["text"].replace(" (happiness)", "")
    assert report([accepted(text=quiet)], {})["label_leakage"]["key_observations"] == 0.0


def test_tokens_and_cost_are_summed():
    told = report([accepted(), accepted(), rejected()], {})
    assert (told["calls"], told["prompt_tokens"], told["generated_tokens"], told["cost"]) == (
        6,
        6000,
        400,
        0.01,
    )
    assert report([rejected()], {})["cost"] is None


def test_a_report_is_json_and_a_few_lines():
    told = report([accepted(), rejected()], {"unknown_label": 1})
    assert json.loads(json.dumps(told)) == told
    first, *more = lines(told)
    assert first == (
        "2 faces: 1 accepted of 2 asked about (1 in round 1); without a text: 1 not_accepted; "
        "unusable rows of the data set: 1 unknown_label"
    )
    assert "cost 0.0050" in more[-1]


def test_a_report_on_nothing_says_so():
    told = report([], {})
    assert (told["faces"], told["accepted_rate"], told["action_units"]["precision"]) == (0, None, None)
    assert lines(told)[0] == "0 faces: 0 accepted of 0 asked about"
