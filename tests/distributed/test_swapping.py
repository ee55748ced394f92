"""A running engine takes in the adapter of a promoted model, and refuses what is more than that."""

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from expllm import gate, promoted
from expllm.config import ServiceConfig
from expllm.distributed.serve_engine import ServedEngine
from expllm.errors import RunError
from expllm.models import adapters, frozen
from expllm.models.checkpoint import resolve
from expllm.models.encoder import Encoder
from serve.current import Current


@dataclass(frozen=True)
class _Method:
    call: object

    async def remote(self, *arguments):
        return await self.call(*arguments)


@dataclass(frozen=True)
class _Handle:
    """A replica in this process, called as Serve's handle is."""

    replica: ServedEngine

    @property
    def explain(self):
        return _Method(self.replica.explain)


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(loop, tiny_checkpoint):
    async def started():
        arguments = {**adapters.engine_args(4, 2), "dtype": "float32", "max_num_seqs": 4}
        return ServedEngine(str(tiny_checkpoint), arguments)

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        served = loop.run(started())
    yield served
    served._engine.shutdown()


@pytest.fixture(scope="module")
def trained(trains, tiny_checkpoint, tmp_path_factory):
    return trains(tiny_checkpoint, tmp_path_factory.mktemp("swapped") / "model", 0.1)


@pytest.fixture(scope="module")
def face(tiny_checkpoint):
    checkpoint = resolve(str(tiny_checkpoint))
    return Encoder(checkpoint).encode(frozen.crops(checkpoint.preprocessing.size_px))[0]


def logprobs(answer):
    return list(answer.label_logprobs.values())


def test_one_engine_answers_with_and_without_an_adapter_each_as_its_trainer(
    loop, engine, trained, tiny_checkpoint, face
):
    record, base = gate.Record.read(trained), resolve(str(tiny_checkpoint))
    adapted = loop.run(engine.explain(face, None, resolve(str(trained)).model_id, str(trained)))
    plain = loop.run(engine.explain(face, None, base.model_id))
    without = record.adapters["language model"].scores_without
    assert logprobs(adapted) == pytest.approx(record.scores[0].labels, abs=1e-3)
    assert logprobs(plain) == pytest.approx(without[0].labels, abs=1e-3)
    assert np.abs(np.subtract(logprobs(adapted), logprobs(plain))).max() > 0.1


@pytest.fixture(scope="module")
def more(trains, tiny_checkpoint, tmp_path_factory):
    """A training that moved the projector as well."""
    return trains(tiny_checkpoint, tmp_path_factory.mktemp("more") / "model", 0.1, projector=1.5)


def test_a_model_on_another_base_or_with_another_projector_is_refused(
    loop, engine, trained, more, tmp_path, face
):
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    (other / "card.json").write_text('{"temperature": 2.0}')  # else it is the same model
    gate.Record.read(other).model_copy(update={"base_id": "another"}).write(other)
    for folder in (other, more):
        with pytest.raises(RunError, match="not "):
            loop.run(engine.explain(face, None, resolve(str(folder)).model_id, str(folder)))


def test_an_adapter_of_a_higher_rank_than_the_engine_takes_is_refused(loop, engine, trained, tmp_path, face):
    folder = Path(shutil.copytree(trained, tmp_path / "wide"))
    config = folder / adapters.FOLDER / adapters.CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | {"r": 16}))
    with pytest.raises(RunError, match="not wide-id"):
        loop.run(engine.explain(face, None, "wide-id", str(folder)))


def test_a_folder_that_holds_another_model_than_is_asked_for_is_refused(loop, engine, trained, face):
    with pytest.raises(RunError, match="not older-id"):
        loop.run(engine.explain(face, None, "older-id", str(trained)))


def test_a_service_follows_what_is_promoted_under_its_name(
    loop, engine, trained, more, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setenv("EXPLLM_MODELS", str(tmp_path / "names"))
    base, adapted, refused = (resolve(str(folder)) for folder in (tiny_checkpoint, trained, more))

    def serves(current):
        async def asked():
            current.now()
            await current._look
            return current.now().model_id

        return loop.run(asked())

    promoted.promote("faces", base.path, base.model_id)
    current = Current("faces", "faces", _Handle(engine), look_every_s=0)
    assert serves(current) == base.model_id
    promoted.promote("faces", adapted.path, adapted.model_id)
    assert serves(current) == adapted.model_id
    promoted.promote("faces", refused.path, refused.model_id)
    assert serves(current) == adapted.model_id
    for _ in range(2):
        promoted.roll_back("faces", promoted.before("faces"))
    assert serves(current) == base.model_id


def test_an_engine_that_is_to_take_in_adapters_starts_with_the_base(trained, tiny_checkpoint):
    assert adapters.base(trained).path == tiny_checkpoint.resolve()
    assert adapters.base(tiny_checkpoint) is None
    assert ServiceConfig().adapters == 0
