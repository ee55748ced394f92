"""Encoded faces -> the model's answers, by vLLM engines inside the job (ray.data.llm)."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from ray.data import Dataset
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

from expllm.config import LabelConfig
from expllm.distributed import cluster
from expllm.distributed.encode import ask, features_of
from expllm.distributed.results import EXPLAIN
from expllm.expressions import Expression
from expllm.models.checkpoint import Checkpoint
from expllm.models.engine import engine_args, explain_sampling, label_sampling, label_token_ids
from expllm.models.registration import register

_ERROR = "__inference_error__"
_NO_FACE = "no face"
_CARRIED = ("shard_id", "photo_uri", "num_faces", "face_index", "known", "question")
_BATCH = 32
_TASK = {"num_cpus": 0.25}


def answer_in_job(encoded: Dataset, checkpoint: Checkpoint, config: LabelConfig) -> Dataset:
    """Ask both questions about each face; rows of encode.FEATURES into rows of results.RESULTS."""
    register()
    token_ids = label_token_ids(checkpoint)
    processor = build_processor(
        _processor_config(checkpoint, config),
        preprocess=partial(_request, token_ids=token_ids),
        postprocess=dict,
        preprocess_map_kwargs=_TASK,
        postprocess_map_kwargs=_TASK,
    )
    processor.get_stage_by_name("vLLMEngineStage").map_batches_kwargs.update(cluster.few_restarts())
    asked = encoded.flat_map(partial(ask, has_hints=config.hints), **_TASK)
    return processor(asked).map(partial(_result, token_ids=token_ids), **_TASK)


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
        runtime_env={"env_vars": cluster.engine_environment(config)},
    )


def _request(row: dict[str, Any], *, token_ids: Mapping[Expression, int]) -> dict[str, Any]:
    """What the engine's stage reads; a row that is marked as failed already passes it untouched."""
    import torch

    features = row.pop("features")
    if not row["num_faces"]:
        return {_ERROR: _NO_FACE}
    encoded = features_of({**row, "features": features})
    return {
        "multimodal_data": {"image": torch.from_numpy(np.array(encoded[None], np.float32))},
        "sampling_params": explain_sampling() if row["question"] == EXPLAIN else label_sampling(token_ids),
    }


def _result(row: Mapping[str, Any], *, token_ids: Mapping[Expression, int]) -> dict[str, Any]:
    """A row of results.RESULTS out of all that the engine's stage leaves behind."""
    error = row[_ERROR]
    return {
        **{name: row[name] for name in _CARRIED},
        "text": "" if error else row["generated_text"],
        "prompt_tokens": 0 if error else int(row["num_input_tokens"]),
        "generated_tokens": 0 if error else int(row["num_generated_tokens"]),
        "label_logprobs": json.dumps({} if error else _logprobs(row["logprobs"], token_ids)),
        "error": "" if error == _NO_FACE else error,
    }


def _logprobs(steps: Any, token_ids: Mapping[Expression, int]) -> dict[str, float]:
    """The first generated token's log probabilities of the label words; empty where none were asked."""
    if steps is None or not len(steps):
        return {}
    found = {int(token): entry["logprob"] for token, entry in steps[0].items() if entry is not None}
    return {str(expression): found[token] for expression, token in token_ids.items() if token in found}
