"""Labelled faces -> rows of instruction data: one streaming Ray dataset for the whole run."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from pydantic import SecretStr
from ray.data import ActorPoolStrategy, Dataset

from expllm.config import BuildCotConfig
from expllm.datasets import LabelledFace
from expllm.distributed import cluster, pipeline
from expllm.distributed.measure import LABELLED, MeasureFaces
from expllm.distributed.teach import Teach, Teaching
from expllm.exp_cot.calls import Purse
from expllm.exp_cot.instructions import Row, described
from expllm.models.checkpoint import Checkpoint

_BLOCK_FACES = 64
_MEASURE_BATCH = 32
_WRITER_BATCH = 64
"""Faces that are taught together by the writer; with a chat model twice those asked about at a time."""
_TEACHING_CPUS = 0.5


def taught(
    faces: list[LabelledFace], teaching: Teaching, checkpoint: Checkpoint, spent: float
) -> Iterator[list[Row]]:
    """Give rows of tables.INSTRUCTIONS as they come, some at a time, in any order.

    Args:
        spent: What counts towards the spending limit already.

    Raises:
        CallerError: the cluster is too small, or a worker met a caller's mistake.
        RunError: a worker failed, or the teacher is dead.
    """
    config = teaching.config
    with cluster.connected(), cluster.naming():
        cluster.check_holds(*_needs(config))
        pipeline.resolve_everywhere(config.model, checkpoint)
        pipeline.set_context()
        with cluster.silent():
            dataset = _dataset(faces, checkpoint, _equipped(teaching, spent))
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield batch.to_pylist()


def endpoint_key(config: BuildCotConfig) -> str | None:
    """The key that this process's environment has for the endpoint; None without one."""
    return os.environ.get(config.teacher_key, "").strip() or None


def _needs(config: BuildCotConfig) -> tuple[dict[str, float], str]:
    engines = config.engine_workers if config.teacher == "vllm" else 0
    faces = pipeline.FACE_CPUS * config.face_workers + pipeline.ENCODER_CPUS * config.encoder_workers
    workers = faces + _TEACHING_CPUS * config.teaching_workers
    needed = {
        "CPU": workers + engines,
        "GPU": config.encoder_gpus * config.encoder_workers + config.engine_gpus * engines,
    }
    return needed, "face_workers, encoder_workers, teaching_workers or engine_workers"


def _equipped(teaching: Teaching, spent: float) -> Teaching:
    """With the key, the purse and the engines that the teacher needs."""
    config = teaching.config
    if config.teacher == "writer":
        return teaching
    purse = None
    if config.max_cost is not None:
        purse = ray.remote(Purse).options(num_cpus=0).remote(config.max_cost, spent)
    if config.teacher == "vllm":
        return replace(teaching, purse=purse, engines=_engines(config))
    key = endpoint_key(config)
    return replace(teaching, purse=purse, key=key and SecretStr(key))


def _engines(config: BuildCotConfig) -> tuple[Any, ...]:
    from expllm.models.chat_engine import ChatEngine

    actor = ray.remote(ChatEngine).options(
        num_cpus=1,
        num_gpus=config.engine_gpus,
        max_concurrency=config.calls_at_once * config.teaching_workers,
        runtime_env=cluster.engine_runtime_env(config),
        **cluster.few_restarts(),
    )
    arguments = (str(config.teacher_model), config.engine_overrides)
    return tuple(actor.remote(*arguments) for _ in range(config.engine_workers))


def _dataset(faces: list[LabelledFace], checkpoint: Checkpoint, teaching: Teaching) -> Dataset:
    config = teaching.config
    batch = _WRITER_BATCH if config.teacher == "writer" else 2 * config.calls_at_once
    blocks = [_listed(faces[start : start + _BLOCK_FACES]) for start in range(0, len(faces), _BLOCK_FACES)]
    listed = ray.data.from_arrow(blocks)
    encoded = pipeline.with_features(listed, MeasureFaces, _MEASURE_BATCH, checkpoint, config)
    return encoded.map_batches(
        Teach,
        fn_constructor_args=(teaching,),
        batch_size=batch,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=config.teaching_workers),
        num_cpus=_TEACHING_CPUS,
        **cluster.few_restarts(),
    )


def _listed(faces: list[LabelledFace]) -> pa.Table:
    known = [json.dumps(described(face)) for face in faces]
    return pa.table({"known": known, "image": [face.image for face in faces]}, schema=LABELLED)
