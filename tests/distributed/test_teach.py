"""One teaching process: faces side by side, calls that are paid for once, and a teacher that fails."""

import json

import pyarrow as pa
import pytest

from expllm import facs
from expllm.config import BuildCotConfig
from expllm.distributed.paid_calls import PaidCalls
from expllm.distributed.teach import Teach, Teaching
from expllm.errors import CallerError, RunError
from expllm.exp_cot.calls import Call, Completion, Message, TeacherFailed
from expllm.tables import INSTRUCTIONS

SMILE = {**dict.fromkeys(facs.COLUMNS, 0.0), **dict.fromkeys(("au12", "au12_left", "au12_right"), 0.9)}
MADE = {"teacher_id": "t", "measured_by": "m", "run_id": "r"}


def face(number, expression="happiness", **more):
    known = {"photo": f"{number}.jpg", "face_key": str(number), "box_px": None, "expression": expression}
    return {**known, "action_units": SMILE, **more}


def table(*faces):
    return pa.table({"known": [json.dumps(one) for one in faces]})


@pytest.fixture
def teach(endpoint, tmp_path):
    """Make a teaching process that asks the endpoint."""

    def made(**settings):
        told = {"teacher": "endpoint", "teacher_url": endpoint.url, "teacher_model": "m", "retries": 0}
        config = BuildCotConfig.of({**told, **settings})
        return Teach(Teaching(config, "m", str(tmp_path / "calls"), MADE))

    return made


def test_the_writer_asks_nobody_and_fills_the_table(tmp_path):
    teach = Teach(Teaching(BuildCotConfig(), "", str(tmp_path / "calls"), MADE))
    rows = teach(
        table(face(1), face(2, "fear"), face(3, None), face(4, reject_reason="not_found"))
    ).to_pylist()
    assert [row["reject_reason"] for row in rows] == [None, "not_accepted", "no_label", "not_found"]
    assert {row["teacher_id"] for row in rows} == {"t"}
    assert not (tmp_path / "calls").exists()


def test_rows_have_the_tables_schema_and_order(teach, chatty):
    found = teach()(table(face(1), face(2), face(3, "fear")))
    assert found.schema == INSTRUCTIONS
    assert found["face_key"].to_pylist() == ["1", "2", "3"]
    assert found["reject_reason"].to_pylist() == [None, None, "not_accepted"]


def test_no_call_is_paid_for_twice(teach, chatty):
    first = teach()(table(face(1))).to_pylist()
    asked = len(chatty.requests)
    again = teach()(table(face(1), face(2))).to_pylist()
    assert asked == len(chatty.requests) == 3
    assert again[0] == first[0] and again[1]["calls"] == 3


def test_a_face_without_an_answer_costs_its_own_row(teach, chatty):
    talk = chatty.answer
    chatty.answer = lambda body: chatty.reply(400) if "chin" in json.dumps(body) else talk(body)
    rows = teach()(table(face(1), face(2, action_units={**SMILE, "au17": 0.9}), face(3))).to_pylist()
    assert [row["reject_reason"] for row in rows] == [None, "teacher_failed", None]
    assert "refuses the call (HTTP 400)" in rows[1]["faults"][0]


def test_a_teacher_that_is_dead_ends_the_run(teach, endpoint):
    endpoint.script(endpoint.reply(500))
    dying = teach()
    faces = [face(n, action_units={**SMILE, "au04": n / 40}) for n in range(20)]
    assert set(dying(table(*faces[:19]))["reject_reason"].to_pylist()) == {"teacher_failed"}
    with pytest.raises(RunError, match="HTTP 500: 20 faces in a row got no answer"):
        dying(table(faces[19]))


def test_a_refused_key_ends_the_run_as_the_callers_mistake(teach, endpoint):
    endpoint.script(endpoint.reply(401))
    with pytest.raises(CallerError, match="refuses the key"):
        teach()(table(face(1)))


def test_an_answer_is_kept_before_it_is_used_and_a_failure_is_not(tmp_path):
    def ask(call):
        if call.model == "bad":
            raise TeacherFailed("down")
        return Completion("yes", 2, 1)

    paid = PaidCalls(ask, str(tmp_path), None, None)
    call = Call("good", (Message("user", "?"),))
    assert paid(call) == Completion("yes", 2, 1)
    with pytest.raises(TeacherFailed):
        paid(Call("bad", ()))
    (kept,) = (file for file in tmp_path.rglob("*") if file.is_file())
    assert kept.name == f"{call.key}.json"
    assert json.loads(kept.read_text()) == {"text": "yes", "prompt_tokens": 2, "generated_tokens": 1}
