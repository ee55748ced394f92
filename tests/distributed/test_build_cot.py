"""The job of the Exp-CoT Engine over a few rendered faces, to its end and again."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from expllm import cot
from expllm.config import BuildCotConfig
from expllm.distributed import build_cot, instruction_parts
from expllm.distributed.instruction_parts import Parts
from expllm.errors import CallerError, RunError
from expllm.exp_cot.instructions import NoText, rejected_row
from expllm.tables import INSTRUCTIONS
from jobs import faces as rendered

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A neutral and a smiling face, and one whose picture is none."""
    folder = tmp_path_factory.mktemp("rendered")
    rendered.main(folder, count=3, size_px=192, peaks=(0.9, 1.0))
    (folder / pq.read_table(folder / "faces.parquet")["file"].to_pylist()[2]).write_bytes(b"no picture")
    return folder


@pytest.fixture
def config(endpoint, tiny_checkpoint):
    def made(**settings):
        asked = {"teacher": "endpoint", "teacher_url": endpoint.url, "teacher_model": "m", "retries": 0}
        told = {"model": str(tiny_checkpoint), "teacher_parameters": {"max_tokens": 50}}
        return BuildCotConfig.of({**told, **asked, **settings})

    return made


@pytest.fixture(scope="module")
def babbler(tmp_path_factory):
    """The folder of a chat model with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from expllm.models import base

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("babbler")
    tokenizer = base.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def kept(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def test_every_face_has_its_row_and_a_second_run_changes_none(local_ray, data, tmp_path, tiny_checkpoint):
    config = BuildCotConfig(model=str(tiny_checkpoint))
    summary = build_cot.run(str(data), str(tmp_path), config)
    rows = instruction_parts.read(str(tmp_path)).to_pylist()
    assert [row["expression"] for row in rows] == ["neutral", "happiness", "sadness"]
    assert [row["reject_reason"] for row in rows] == [None, None, "unknown_format"]
    chain = cot.parse(rows[1]["text"], truncated=False)
    assert chain.expression == "happiness"
    assert rows[1]["action_units"]["au12"] > 0.3 and len(rows[1]["box_px"]) == 4
    assert json.loads((tmp_path / build_cot.REPORT).read_text()) == summary.report
    assert summary.report["action_units"]["precision"] == summary.report["action_units"]["recall"] == 1.0

    (part,) = (tmp_path / instruction_parts.FOLDER).iterdir()
    build_cot.run(str(data), str(tmp_path), config)
    assert list((tmp_path / instruction_parts.FOLDER).iterdir()) == [part]


def test_an_endpoint_that_dies_half_way_loses_nothing(local_ray, data, tmp_path, chatty, config):
    talk, left = chatty.answer, [None] * 2
    chatty.answer = lambda body: talk(body) if left and not left.pop() else chatty.reply(503)
    with pytest.raises(RunError, match=r"faces got no answer \(.*HTTP 503\); run again"):
        build_cot.run(str(data), str(tmp_path), config(calls_at_once=1))
    chatty.answer = talk
    summary = build_cot.run(str(data), str(tmp_path), config(calls_at_once=1))
    assert summary.report["rejected"] == {"unknown_format": 1, "not_accepted": 1}
    answered = Counter(json.dumps(body) for body in chatty.requests)
    assert answered.total() == len(answered) + 2, "only the calls that failed were made again"

    before = kept(tmp_path / instruction_parts.FOLDER)
    assert build_cot.run(str(data), str(tmp_path), config(calls_at_once=1)).report == summary.report
    assert kept(tmp_path / instruction_parts.FOLDER) == before


def test_the_spending_limit_ends_the_run_with_all_that_was_paid_for(
    local_ray, data, tmp_path, chatty, config
):
    prices = {"m": {"prompt": 1000.0, "answer": 1000.0}}  # 0.11 a call, and at most .75
    with pytest.raises(RunError, match=r"max_cost 1 is reached: .*; all that was paid for is kept"):
        build_cot.run(str(data), str(tmp_path), config(prices=prices, max_cost=1))
    paid = len(chatty.requests)
    assert 0 < paid * 0.11 <= 1
    summary = build_cot.run(str(data), str(tmp_path), config(prices=prices, max_cost=50))
    asked = [json.dumps(body) for body in chatty.requests]
    assert len(set(asked)) == len(asked), "nothing is paid for twice"
    assert summary.report["cost"] == pytest.approx(0.11 * summary.report["calls"])


def test_a_chat_model_in_vllm_is_asked_on_the_cluster(local_ray, data, tmp_path, config, babbler):
    engine = {"dtype": "float32", "max_num_seqs": 4, "max_model_len": 2048}
    chosen = config(teacher="vllm", teacher_model=str(babbler), engine_kwargs=engine)
    report = build_cot.run(str(data), str(tmp_path), chosen).report
    assert report["rejected"] == {"unknown_format": 1, "not_accepted": 2}
    assert report["calls"] == 16 and report["generated_tokens"] > 16
    assert report["teacher_id"].startswith(babbler.name)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"teacher_url": None}, "needs teacher_url and teacher_model"),
        ({"teacher_model": None}, "needs teacher_url and teacher_model"),
        ({"teacher": "vllm", "teacher_model": None}, "needs teacher_model, a folder"),
        ({"teacher": "vllm", "teacher_model": "/no/such"}, "/no/such: holds no config.json"),
        ({"teacher_url": "example.com"}, "write https://host/v1"),
        ({"max_cost": 1.0}, "max_cost needs a price"),
        (
            {"max_cost": 1.0, "prices": {"m": {"prompt": 1, "answer": 1}}, "teacher_parameters": {}},
            "max_cost needs max_tokens",
        ),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_refused_before_any_work(data, tmp_path, config, settings, named):
    with pytest.raises(CallerError, match=named):
        build_cot.run(str(data), str(tmp_path / "out"), config(**settings))
    assert not (tmp_path / "out").exists()


def row(key, reason, **more):
    return {**rejected_row({"face_key": key, "teacher_id": "t", "measured_by": "m"}, reason), **more}


def test_texts_of_another_teacher_are_not_mixed_in(data, tmp_path, tiny_checkpoint):
    with Parts(str(tmp_path), "r") as parts:
        parts.add([row("a", NoText.NOT_FOUND)])
    with pytest.raises(CallerError, match=r"another teacher_id \(t, now writer-.*\); name another OUTPUT"):
        build_cot.run(str(data), str(tmp_path), BuildCotConfig(model=str(tiny_checkpoint)))


def test_of_several_rows_of_a_face_the_last_run_counts(tmp_path):
    for run, reason in (("1", NoText.TEACHER_FAILED), ("2", NoText.NOT_ACCEPTED)):
        with Parts(str(tmp_path), run) as parts:
            parts.add([row("a", reason), row(run, reason)])
    found = instruction_parts.read(str(tmp_path)).to_pylist()
    assert [(one["face_key"], one["reject_reason"]) for one in found] == [
        ("1", "teacher_failed"),
        ("a", "not_accepted"),
        ("2", "not_accepted"),
    ]


def test_rows_are_written_whole_even_when_the_run_breaks_off(tmp_path):
    with pytest.raises(RunError), Parts(str(tmp_path), "r") as parts:
        parts.add([row("a", NoText.NOT_ACCEPTED)])
        raise RunError("broke off")
    assert instruction_parts.read(str(tmp_path)).schema == INSTRUCTIONS
    assert instruction_parts.read(str(tmp_path)).num_rows == 1


def test_a_strange_file_among_the_parts_is_named(tmp_path):
    folder = tmp_path / instruction_parts.FOLDER
    folder.mkdir()
    (folder / "mine.parquet").write_bytes(b"no parquet")
    with pytest.raises(CallerError, match=r"mine\.parquet: is no part of instruction data"):
        instruction_parts.read(str(tmp_path))
