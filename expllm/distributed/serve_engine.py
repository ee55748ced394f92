"""Encoded faces -> the model's answers, by a Ray Serve deployment that jobs and HTTP clients share."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from ray import serve
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from expllm.config import LabelConfig
from expllm.distributed import cluster
from expllm.distributed.encode import features_of, hints_of
from expllm.distributed.results import EXPLAIN, LABEL, RESULTS
from expllm.errors import CallerError
from expllm.labels import Answer

APPLICATION = "expllm-engine"
"""The Serve application that holds the engines; a running one is used as it is."""
_BATCH = 64
_START_TIMEOUT_S = 600
_IN_FLIGHT = 64
"""Faces that one replica is asked about at once."""


class ServedEngine:
    """One replica: an engine, called by handle with arrays."""

    def __init__(self, model: str, engine_kwargs: dict[str, Any]) -> None:
        from expllm.models.checkpoint import resolve
        from expllm.models.engine import Engine  # torch and vLLM: here alone, not where it is only asked

        checkpoint = resolve(model)
        self._model_id = checkpoint.model_id
        self._engine = Engine(checkpoint, **engine_kwargs)

    async def explain(self, features: np.ndarray, hints: dict[str, float | None] | None) -> Answer:
        """Answer both questions about one face; features are num_tokens x width."""
        return await self._engine.explain(features, hints)

    def model_id(self) -> str:
        """Which model answers."""
        return self._model_id


def start_engine(config: LabelConfig, model_id: str) -> None:
    """Have the engine's application running: jobs and the HTTP service share it.

    Raises:
        CallerError: the running application serves another model.
    """
    if not _is_running():
        serve.start(proxy_location="Disabled")  # a Serve that runs already stays as it is
        serve.run(_engine_app(config), name=APPLICATION, route_prefix=None)
    served = engine().model_id.remote().result(timeout_s=_START_TIMEOUT_S)
    if served != model_id:
        raise CallerError(
            f"the Serve application {APPLICATION} answers with model {served}, not {model_id}: "
            "name its model, or delete the application"
        )


def engine() -> DeploymentHandle:
    """The running engine: `.explain.remote(features, hints)` gives an Answer."""
    return serve.get_app_handle(APPLICATION)


def _is_running() -> bool:
    found = serve.status().applications.get(APPLICATION)
    return found is not None and found.status == ApplicationStatus.RUNNING


def _engine_app(config: LabelConfig) -> serve.Application:
    """The application as a configuration wants it, scaled between one replica and `engine_workers`."""
    deployment = serve.deployment(ServedEngine, max_ongoing_requests=_IN_FLIGHT)
    environment = {"env_vars": cluster.ENGINE_ENVIRONMENT}
    options = {"num_cpus": 1, "num_gpus": config.engine_gpus, "runtime_env": environment}
    scaling = {
        "min_replicas": 1,
        "max_replicas": config.engine_workers,
        "target_ongoing_requests": _IN_FLIGHT / 2,
    }
    bound = deployment.options(ray_actor_options=options, autoscaling_config=scaling)
    return bound.bind(config.model, config.engine_overrides)


def answer_by_serve(encoded: Dataset, model_id: str, config: LabelConfig) -> Dataset:
    """Ask both questions about each face; rows of encode.FEATURES into rows of results.RESULTS.

    Raises:
        CallerError: the running application serves another model.
    """
    start_engine(config, model_id)
    return encoded.map_batches(
        AskServe,
        fn_constructor_args=(config.hints,),
        batch_size=_BATCH,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=1),
        num_cpus=0.25,
        **cluster.few_restarts(),
    )


class AskServe:
    """Asks the running application about a batch of faces at once; a face that fails fails alone."""

    def __init__(self, has_hints: bool) -> None:
        self._engine = engine()
        self._hints = partial(hints_of, are_given=has_hints)

    async def __call__(self, encoded: pa.Table) -> pa.Table:
        """Rows of encode.FEATURES into RESULTS."""
        answered = await asyncio.gather(*map(self._ask, encoded.to_pylist()))
        return pa.Table.from_pylist([row for rows in answered for row in rows], schema=RESULTS)

    async def _ask(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        empty = {name: row[name] for name in ("shard_id", "photo_uri", "num_faces", "face_index", "known")}
        empty |= {"question": "", "label_logprobs": "{}", "error": ""}
        if not row["num_faces"]:
            return [empty]
        try:
            answer = await self._engine.explain.remote(features_of(row), self._hints(row))
        except RayTaskError as error:
            name = type(error.cause).__name__
            return [{**empty, "question": question, "error": name} for question in (EXPLAIN, LABEL)]
        return [{**empty, **_explained(answer)}, {**empty, **_labelled(answer)}]


def _explained(answer: Answer) -> dict[str, Any]:
    return {
        "question": EXPLAIN,
        "text": answer.text,
        "prompt_tokens": answer.prompt_tokens,
        "generated_tokens": answer.generated_tokens,
    }


def _labelled(answer: Answer) -> dict[str, Any]:
    return {"question": LABEL, "known": "", "label_logprobs": json.dumps(answer.label_logprobs)}
