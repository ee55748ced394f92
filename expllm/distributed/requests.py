"""Rows of encode.FEATURES -> what ray.data.llm asks an engine, and its answers -> rows of results.RESULTS.

Every task of the job imports this module: it loads neither torch nor vLLM.
"""

import json
from collections.abc import Mapping
from typing import Any

from expllm.distributed.encode import features_of
from expllm.expressions import Expression

_ERROR = "__inference_error__"
_NO_FACE = "no face"
_CARRIED = ("shard_id", "photo_uri", "num_faces", "face_index", "known", "question")


def request(row: dict[str, Any], *, sampling: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the engine's stage reads; a row that is marked as failed already passes it untouched.

    Args:
        sampling: vLLM's parameters for each question.
    """
    features = row.pop("features")
    if not row["num_faces"]:
        return {_ERROR: _NO_FACE}
    return {
        "multimodal_data": {"image": features_of({**row, "features": features})[None]},
        "sampling_params": sampling[row["question"]],
    }


def result(row: Mapping[str, Any], *, token_ids: Mapping[Expression, int]) -> dict[str, Any]:
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
