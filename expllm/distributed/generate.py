"""Encoded faces -> the model's answers, by vLLM engines inside the job (ray.data.llm)."""

from functools import partial
from typing import Any

from ray.data import Dataset, TaskPoolStrategy
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

from expllm.config import LabelConfig
from expllm.distributed import cluster
from expllm.distributed.encode import ask
from expllm.distributed.requests import request, result
from expllm.distributed.results import EXPLAIN, LABEL
from expllm.models.checkpoint import Checkpoint
from expllm.models.engine import engine_args, explain_sampling, label_sampling, label_token_ids
from expllm.models.registration import register

_BATCH = 32
_TASK_CPUS = 0.25


def answer_in_job(encoded: Dataset, checkpoint: Checkpoint, config: LabelConfig) -> Dataset:
    """Ask both questions about each face; rows of encode.FEATURES into rows of results.RESULTS."""
    register()
    token_ids = label_token_ids(checkpoint)
    sampling = {EXPLAIN: explain_sampling(), LABEL: label_sampling(token_ids)}
    processor = build_processor(
        _processor_config(checkpoint, config),
        preprocess=partial(request, sampling=sampling),
        postprocess=dict,
        preprocess_map_kwargs=_few_tasks(config),
        postprocess_map_kwargs=_few_tasks(config),
    )
    processor.get_stage_by_name("vLLMEngineStage").map_batches_kwargs.update(cluster.few_restarts())
    asked = encoded.flat_map(partial(ask, has_hints=config.hints), **_few_tasks(config))
    return processor(asked).map(partial(result, token_ids=token_ids), **_few_tasks(config))


def _few_tasks(config: LabelConfig) -> dict[str, Any]:
    """Ray's arguments for row functions: one task an engine keeps up with it.

    Every further process that takes part imports for seconds on the cores that the engine needs.
    """
    return {"num_cpus": _TASK_CPUS, "compute": TaskPoolStrategy(config.engine_workers)}


def _processor_config(checkpoint: Checkpoint, config: LabelConfig) -> vLLMEngineProcessorConfig:
    bundle = {"CPU": 1, "GPU": 1} if config.engine_gpus else {"CPU": 1}
    return vLLMEngineProcessorConfig(
        model_source=str(checkpoint.path),
        engine_kwargs=engine_args(checkpoint, **config.engine_overrides),
        concurrency=(config.engine_workers, config.engine_workers),
        batch_size=_BATCH,
        should_continue_on_error=True,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        placement_group_config={"bundles": [bundle] * max(1, config.engine_gpus)},
        accelerator_type=None,
        log_engine_metrics=False,
        runtime_env=cluster.engine_runtime_env(config),
    )
