"""The HTTP application answers as the label job would, and refuses what it must."""

import asyncio
import base64
from importlib.resources import files

import httpx
import numpy as np
import pyarrow as pa
import pytest
from ray import serve as ray_serve

from expllm.config import LabelConfig, ServiceConfig
from expllm.distributed import label, table
from expllm.distributed.encode import FEATURES
from expllm.distributed.serve_engine import APPLICATION, AskServe, start_engine
from expllm.errors import CallerError, RunError
from expllm.models.checkpoint import resolve
from serve import endpoint
from serve.api import MAX_BODY_BYTES
from serve.app import build
from serve.keys import digest

pytestmark = pytest.mark.timeout(600)

ENGINE = {"dtype": "float32", "max_num_seqs": 16}
KEY = {"Authorization": "Bearer secret"}
PATH = "/v1/expressions"


def photograph(name):
    return files("expllm").joinpath("data", "demo", name).read_bytes()


@pytest.fixture(scope="module")
def client(local_ray, tiny_checkpoint):
    model = resolve(str(tiny_checkpoint))
    start_engine(ServiceConfig(model=str(tiny_checkpoint), engine_kwargs=ENGINE), model.model_id)
    address = httpx.URL(local_ray)
    application = build(ServiceConfig(model=str(tiny_checkpoint)), [digest("secret")])
    with (
        endpoint.listening(address.host, address.port) as url,
        endpoint.running(application, "expllm"),
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        yield client
    left = ray_serve.status().applications
    assert APPLICATION in left and "expllm" not in left


def test_a_group_has_its_faces_from_the_left(client):
    answer = client.post(PATH, headers=KEY, files={"photo": photograph("09_group.jpg")}).json()
    lefts = [face["box_px"][0] for face in answer["faces"]]
    assert len(lefts) == 3 and lefts == sorted(lefts)


def test_multipart_and_json_give_the_same_answer(client):
    data = photograph("01_happiness.jpg")
    as_file = client.post(PATH, headers=KEY, files={"photo": data})
    as_json = client.post(PATH, headers=KEY, json={"photo_base64": base64.b64encode(data).decode()})
    assert as_file.json() == as_json.json()


def test_the_answer_is_the_row_that_the_label_job_writes(client, tiny_checkpoint, tmp_path):
    (tmp_path / "face.jpg").write_bytes(photograph("01_happiness.jpg"))
    config = LabelConfig(model=str(tiny_checkpoint), engine="serve", engine_kwargs=ENGINE)
    label.run(str(tmp_path / "face.jpg"), str(tmp_path / "out"), config)
    (row,) = table.open_table(str(tmp_path / "out")).to_pyarrow_table().to_pylist()
    (face,) = client.post(PATH, headers=KEY, files={"photo": photograph("01_happiness.jpg")}).json()["faces"]
    same = ("face_index", "outcome", "key_observations", "interpretation", "conclusion", "expression")
    assert [face[name] for name in same] == [row[name] for name in same]
    assert face["expression_scores"] == pytest.approx(row["expression_scores"], abs=1e-5)
    assert face["box_px"] == pytest.approx(row["box_px"])
    assert face["action_units"] == pytest.approx(row["action_units"], abs=1e-6)


def test_a_photograph_without_a_face_is_an_answer(client):
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (200, 200), "green").save(buffer, "PNG")
    answer = client.post(PATH, headers=KEY, files={"photo": buffer.getvalue()})
    assert (answer.status_code, answer.json()["outcome"], answer.json()["faces"]) == (200, "no_face", [])


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"no photograph", "unknown_format"), (b"\xff\xd8\xff\xe0cut", None)]
)
def test_what_is_no_photograph_is_refused_with_its_reason(client, data, reason):
    answer = client.post(PATH, headers=KEY, json={"photo_base64": base64.b64encode(data).decode()})
    assert answer.status_code == 422 and answer.json()["outcome"] == "rejected"
    assert reason in (None, answer.json()["reject_reason"])


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}])
def test_without_a_valid_key_nothing_is_answered(client, headers):
    assert client.post(PATH, headers=headers, files={"photo": b"x"}).status_code == 401


@pytest.mark.parametrize(
    "sent", [{"json": {"photo": "x"}}, {"json": {"photo_base64": "!"}}, {"data": {"a": "b"}}]
)
def test_a_request_of_another_form_is_told_the_right_one(client, sent):
    answer = client.post(PATH, headers=KEY, **sent)
    assert answer.status_code == 400 and "photo" in answer.json()["detail"]


def test_a_body_past_the_limit_is_refused(client):
    assert client.post(PATH, headers=KEY, files={"photo": bytes(MAX_BODY_BYTES + 1)}).status_code == 413


@pytest.mark.parametrize("address", [("127.0.0.1", 1), ("0.0.0.0", None)])
def test_a_serve_that_listens_elsewhere_is_not_taken_for_ours(local_ray, address):
    host, port = address
    with (
        pytest.raises(CallerError, match=r"listens on 127\.0\.0\.1"),
        endpoint.listening(host, port or httpx.URL(local_ray).port),
    ):
        pass
    assert ray_serve.status().proxies


def test_an_engine_of_another_model_is_refused_and_stays(client):
    with pytest.raises(CallerError, match="not another"):
        start_engine(ServiceConfig(model="another"), "another")
    assert ray_serve.status().applications[APPLICATION].status == "RUNNING"


def test_a_second_service_does_not_replace_the_first(client, tiny_checkpoint):
    second = build(ServiceConfig(model=str(tiny_checkpoint)))
    with pytest.raises(CallerError, match="runs on this cluster already"), endpoint.running(second, "expllm"):
        pass
    assert client.post(PATH, headers=KEY, json={"photo_base64": ""}).status_code == 422


def test_a_run_ends_where_another_model_has_taken_the_engines_place(client):
    features = np.zeros((1, 1), np.float16)
    face = {"shard_id": "s", "photo_uri": "a.jpg", "num_faces": 1, "face_index": 0, "known": "{}"}
    encoded = pa.Table.from_pylist(
        [{**face, "features": features.tobytes(), "num_tokens": 1}], schema=FEATURES
    )
    with pytest.raises(RunError, match="now, not another"):
        asyncio.run(AskServe(False, "another")(encoded))
