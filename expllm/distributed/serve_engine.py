"""Encoded faces -> the model's answers, by a Ray Serve deployment that jobs and HTTP clients share."""

import asyncio
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ray import serve
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from expllm.config import EngineConfig, LabelConfig
from expllm.distributed import cluster
from expllm.distributed.encode import features_of, hints_of
from expllm.distributed.results import EXPLAIN, LABEL, RESULTS
from expllm.errors import CallerError, RunError
from expllm.labels import Answer

APPLICATION = "expllm-engine"
"""The Serve application that holds the engines; a running one is used as it is."""
_PASSING = (ApplicationStatus.NOT_STARTED, ApplicationStatus.DEPLOYING, ApplicationStatus.DELETING)
_BATCH = 64
_START_TIMEOUT_S = 1800
"""Longest wait for an engine that someone else has started; a large model loads for minutes."""
_IN_FLIGHT = 64
"""Faces that one replica is asked about at once."""


class ServedEngine:
    """One replica: an engine, called by handle with arrays."""

    def __init__(self, model: str, engine_kwargs: dict[str, Any]) -> None:
        from expllm.models.checkpoint import resolve
        from expllm.models.engine import Engine  # torch and vLLM: here alone, not where it is only asked

        checkpoint = resolve(model)
        self._model_id = checkpoint.model_id
        self._most_rank = engine_kwargs.get("max_lora_rank", 0)
        self._adapters: dict[str, Any] = {}
        self._engine = Engine(checkpoint, **engine_kwargs)

    async def explain(
        self, features: np.ndarray, hints: dict[str, float | None] | None, model_id: str, model: str = ""
    ) -> Answer:
        """Answer both questions about one face; features are num_tokens x width.

        Args:
            model: The folder of the model that is meant: where it is another one than this engine started
                with, it may lie there as an adapter to that.

        Raises:
            RunError: the caller asks another model than this one.
        """
        if model_id != self._model_id and model_id not in self._adapters:
            check_model(await asyncio.to_thread(self.answers_as, model, model_id), model_id)
            self._take_in(model, model_id)
        return await self._engine.explain(features, hints, self._adapters.get(model_id))

    def answers_as(self, model: str, model_id: str) -> str:
        """The id of the model that answers who asks for this one: the asked one's, if it can be had here."""
        from expllm.models import adapters
        from expllm.models.checkpoint import resolve

        folder = Path(model)
        if not self._most_rank or adapters.base_id(folder) != self._model_id:
            return self._model_id
        # vLLM itself would end the engine over an adapter of too high a rank.
        if adapters.rank(folder) > self._most_rank:
            return self._model_id
        return resolve(model).model_id  # the folder may hold another training by now

    def _take_in(self, model: str, model_id: str) -> None:
        from expllm.models import adapters

        adapter = adapters.Adapter(model_id, len(self._adapters) + 1, Path(model, adapters.FOLDER))
        self._adapters.setdefault(model_id, adapter)  # of requests that wait at once the first takes it in


def check_model(served: str, asked: str) -> None:
    """Refuse to answer for another model: the application was replaced while its caller went on.

    Raises:
        RunError: the two differ.
    """
    if served != asked:
        raise RunError(
            f"the Serve application {APPLICATION} was replaced and answers with model {served} now, "
            f"not {asked}: start again when it is free"
        )


def start_engine(config: EngineConfig, model_id: str) -> None:
    """Have the engine's application running: jobs and the HTTP service share it.

    One that runs or starts already is never replaced, whatever its model; one that failed to start is.

    Raises:
        CallerError: the running application serves another model.
        RunError: someone else's start of the application does not end.
    """
    if _settled() in (None, ApplicationStatus.DEPLOY_FAILED):
        serve.start(proxy_location="Disabled")  # a Serve that runs already stays as it is
        serve.run(_engine_app(config), name=APPLICATION, route_prefix=None)
    served = engine().answers_as.remote(config.model, model_id).result(timeout_s=_START_TIMEOUT_S)
    if served != model_id:
        raise CallerError(
            f"the Serve application {APPLICATION} answers with model {served}, not {model_id}: "
            "name its model, or delete the application"
        )


def engine() -> DeploymentHandle:
    """The application's handle, to be given to `ask`."""
    return serve.get_app_handle(APPLICATION)


async def ask(
    handle: DeploymentHandle,
    features: np.ndarray,
    hints: dict[str, float | None] | None,
    model_id: str,
    model: str = "",
) -> Answer:
    """Ask the running engine about one face, and only the model that is meant; `model` is its folder.

    Raises:
        RunError: another model has taken its place.
        RayTaskError: the engine failed on this face.
    """
    try:
        answer: Answer = await handle.explain.remote(features, hints, model_id, model)
    except RayTaskError as error:
        if isinstance(error.cause, RunError):
            raise error.cause from None
        raise
    return answer


def _settled() -> ApplicationStatus | None:
    """The application's status, waiting while it comes or goes; None where there is none."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        found = serve.status().applications.get(APPLICATION)
        if found is None or found.status not in _PASSING:
            return found and found.status
        if time.monotonic() > deadline:
            raise RunError(
                f"the Serve application {APPLICATION} is {found.status.value} for {_START_TIMEOUT_S} s: "
                "see Ray's logs, or delete the application"
            )
        time.sleep(1)


def _engine_app(config: EngineConfig) -> serve.Application:
    """The application as a configuration wants it, scaled between one replica and `engine_workers`."""
    deployment = serve.deployment(ServedEngine, max_ongoing_requests=_IN_FLIGHT)
    options = {
        "num_cpus": 1,
        "num_gpus": config.engine_gpus,
        "runtime_env": cluster.engine_runtime_env(config),
    }
    scaling = {
        "min_replicas": 1,
        "max_replicas": config.engine_workers,
        "target_ongoing_requests": _IN_FLIGHT / 2,
    }
    bound = deployment.options(ray_actor_options=options, autoscaling_config=scaling)
    if not config.adapters:
        return bound.bind(config.model, config.engine_overrides)
    from expllm.models import adapters
    from expllm.models.checkpoint import resolve

    base = adapters.base(resolve(config.model).path)
    takes = adapters.engine_args(config.adapter_rank, config.adapters)
    return bound.bind(base.model if base else config.model, {**takes, **config.engine_overrides})


def answer_by_serve(encoded: Dataset, model_id: str, config: LabelConfig) -> Dataset:
    """Ask both questions about each face; rows of encode.FEATURES into rows of results.RESULTS.

    Raises:
        CallerError: the running application serves another model.
        RunError: someone else's start of the application does not end.
    """
    start_engine(config, model_id)
    return encoded.map_batches(
        AskServe,
        fn_constructor_args=(config.hints, model_id, config.model),
        batch_size=_BATCH,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=1),
        num_cpus=0.25,
        **cluster.few_restarts(),
    )


class AskServe:
    """Asks the running application about a batch of faces at once.

    A face that fails fails alone; another model in the engine's place ends the run.
    """

    def __init__(self, has_hints: bool, model_id: str, model: str = "") -> None:
        self._engine = engine()
        self._model_id, self._model = model_id, model
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
            answer = await ask(self._engine, features_of(row), self._hints(row), self._model_id, self._model)
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
