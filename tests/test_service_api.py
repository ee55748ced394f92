"""What the HTTP service reads and answers, without Ray: requests, keys, answers."""

import asyncio
import base64
from tempfile import SpooledTemporaryFile

import httpx
import pytest
from fastapi import FastAPI, Request

from expllm import cot, facs
from expllm.config import ServiceConfig
from expllm.errors import CallerError, Reject
from expllm.expressions import EXPRESSIONS, Expression
from expllm.labels import Answer as ModelAnswer
from expllm.labels import label_face
from serve.api import MAX_BODY_BYTES, Answer, Face
from serve.keys import api_keys, digest, is_allowed
from serve.upload import BodyLimit, photograph

app = FastAPI()
app.add_middleware(BodyLimit)


@app.post("/")
async def received(request: Request) -> list[str]:
    return [digest((await photograph(request)).hex())]


def post(**sent):
    async def answer():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/", **sent)

    return asyncio.run(answer())


def row(observed, **more):
    chain = cot.ChainOfThought(
        observed,
        "The lip corner puller points to happiness.",
        "The face shows happiness.",
        Expression.HAPPINESS,
    )
    known = {
        "photo_uri": "a.jpg",
        "face_index": 0,
        "box_px": [1.0, 2.0, 30.0, 40.0],
        "action_units": {**dict.fromkeys(facs.COLUMNS, 0.0), "au12_left": 0.9, "au14_left": None},
    }
    answer = ModelAnswer(cot.render(chain), 60, 90, {e: -1.0 for e in EXPRESSIONS})
    return label_face(known, answer) | more


def rejected(reason=Reject.TEXT_MALFORMED):
    return label_face({"face_index": 1, "box_px": [0.0] * 4, "action_units": {}}, reason)


def answer_of(rows, unusable=None):
    return Answer.of(rows, unusable, photo_id="00", model_id="m", prompt_id="p")


@pytest.mark.parametrize(
    ("observed", "side", "strength"),
    [
        ("strong lip corner puller (happiness).", "both", "strong"),
        ("faint left lip corner puller (happiness).", "left", "faint"),
        ("lip corner puller (happiness).", "both", None),
        ("a strong one-sided lip corner puller (happiness).", None, "strong"),
        ("a one-sided lip corner puller (happiness).", None, None),
    ],
)
def test_a_labelled_row_is_answered_whatever_its_text_leaves_open(observed, side, strength):
    face = Face.model_validate(row(observed))
    assert Face.model_validate_json(face.model_dump_json()) == face
    (seen,) = face.observations
    assert (seen.au, seen.side, seen.strength, seen.associated) == (12, side, strength, ["happiness"])
    assert (face.expression, face.outcome, face.reject_reason) == ("happiness", "labelled", None)
    assert face.confidence == pytest.approx(1 / len(EXPRESSIONS))


def test_columns_that_a_client_is_not_told_are_left_out():
    labelled = row("strong lip corner puller (happiness).", num_faces=3)
    labelled["observations"] = [{**seen, "later": 1} for seen in labelled["observations"]]
    told = answer_of([labelled]).model_dump()["faces"][0]
    assert not told.keys() & {"num_faces", "photo_uri"} and "later" not in told["observations"][0]


def test_a_photograph_with_one_labelled_face_is_labelled():
    answer = answer_of([rejected(), row("strong lip corner puller (happiness).")])
    assert (answer.outcome, answer.reject_reason) == ("labelled", None)
    assert [face.outcome for face in answer.faces] == ["rejected", "labelled"]


def test_a_photograph_whose_faces_are_all_rejected_shows_them_and_the_first_reason():
    answer = answer_of([rejected(Reject.TEXT_TRUNCATED), rejected()])
    assert (answer.outcome, answer.reject_reason, len(answer.faces)) == ("rejected", "text_truncated", 2)


@pytest.mark.parametrize(
    ("unusable", "outcome"), [(None, ("no_face", None)), (Reject.CORRUPT, ("rejected", "corrupt"))]
)
def test_a_photograph_without_rows_has_no_face_or_its_reason(unusable, outcome):
    answer = answer_of([], unusable)
    assert ((answer.outcome, answer.reject_reason), answer.faces) == (outcome, [])


def test_an_upload_stays_in_memory(monkeypatch):
    def written(_):
        raise AssertionError("an upload was written to the disk")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", written)
    data = bytes(range(256)) * 4 * 4096
    assert post(files={"photo": data}).json() == [digest(data.hex())]


def test_the_json_form_carries_the_same_bytes():
    assert post(json={"photo_base64": base64.b64encode(b"face").decode()}).json() == [digest(b"face".hex())]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"json": {"photo": "x"}},
        {"json": {"photo_base64": "!"}},
        {"data": {"photo": "x"}},
        {"files": {"picture": b"x"}},
        {"files": [("photo", b"x"), ("photo", b"y")]},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"x", "headers": {"content-type": "Multipart/Form-Data; boundary=b"}},
    ],
)
def test_a_request_of_another_form_is_told_the_right_one(sent):
    answer = post(**sent)
    assert answer.status_code == 400 and "photo" in answer.json()["detail"]


def test_a_body_past_the_limit_is_refused():
    assert post(files={"photo": bytes(MAX_BODY_BYTES)}).status_code == 413


def test_a_body_that_does_not_tell_its_size_is_counted_as_it_comes():
    async def chunks():
        for _ in range(MAX_BODY_BYTES // 1024**2 + 1):
            yield bytes(1024**2)

    assert post(content=chunks(), headers={"content-type": "application/json"}).status_code == 413


def test_keys_come_from_the_environment_and_from_the_file(tmp_path, monkeypatch):
    (tmp_path / "keys.txt").write_text("\n third \n\nfourth, with a comma\n")
    monkeypatch.setenv("EXPLLM_API_KEYS", "first, second ,,")
    settings = ServiceConfig(api_keys_file=tmp_path / "keys.txt")
    assert api_keys(settings, "0.0.0.0") == ["first", "second", "third", "fourth, with a comma"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_of_keys_that_cannot_be_read_is_the_callers_mistake(tmp_path, content, monkeypatch):
    monkeypatch.setenv("EXPLLM_API_KEYS", "first")
    path = tmp_path / "keys.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CallerError, match="check api_keys_file"):
        api_keys(ServiceConfig(api_keys_file=path), "127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_keys_only_this_machine_may_ask(host, monkeypatch):
    monkeypatch.delenv("EXPLLM_API_KEYS", raising=False)
    assert api_keys(ServiceConfig(), host) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "faces.example", ""])
@pytest.mark.parametrize("given", [None, " , "])
def test_without_keys_a_public_address_is_the_callers_mistake(host, given, monkeypatch):
    monkeypatch.delenv("EXPLLM_API_KEYS", raising=False)
    if given is not None:
        monkeypatch.setenv("EXPLLM_API_KEYS", given)
    with pytest.raises(CallerError, match="needs API keys"):
        api_keys(ServiceConfig(), host)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("Bearer secret", True),
        ("bearer secret", True),
        ("Bearer wrong", False),
        ("secret", False),
        (None, False),
    ],
)
def test_a_request_needs_one_of_the_keys(header, allowed):
    assert is_allowed(header, [digest("other"), digest("secret")]) is allowed
    assert is_allowed(header, [])
