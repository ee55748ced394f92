"""A face's features and measured movements into the model's two answers, by vLLM."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float16
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from expllm import prompt
from expllm.errors import RunError
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import Intensities
from expllm.labels import Answer
from expllm.models.adapters import Adapter
from expllm.models.architecture import ExpllmConfig, num_image_tokens
from expllm.models.checkpoint import Checkpoint
from expllm.models.registration import register

_LONGEST_QUESTION = 256
"""Tokens of a prompt with every movement as a hint, without the image."""


def engine_args(checkpoint: Checkpoint, **overrides: Any) -> dict[str, Any]:
    """vLLM's arguments for a checkpoint, all but the model's path; jobs and services use the same.

    The defaults suit a CPU, where `gpu_memory_utilization` is a share of the machine's memory.
    """
    config = ExpllmConfig.from_pretrained(checkpoint.path)
    return {
        "dtype": "bfloat16",
        "enforce_eager": True,
        "gpu_memory_utilization": 0.2,
        "block_size": 32,
        "max_model_len": num_image_tokens(config) + _LONGEST_QUESTION + prompt.MAX_ANSWER_TOKENS,
        "max_num_seqs": 64,
        "limit_mm_per_prompt": {"image": 1},
        "enable_mm_embeds": True,
        "mm_processor_cache_gb": 0,  # no face is asked about twice
        "enable_prefix_caching": True,  # the second question shares the face with the first
        "trust_remote_code": False,
        "load_format": "safetensors",
        **overrides,
    }


def explain_sampling() -> dict[str, Any]:
    """vLLM's sampling parameters for prompt.explain."""
    return {"temperature": 0.0, "max_tokens": prompt.MAX_ANSWER_TOKENS}


def label_sampling(token_ids: Mapping[Expression, int]) -> dict[str, Any]:
    """vLLM's sampling parameters for prompt.ask_label, given `label_token_ids`."""
    return {"temperature": 0.0, "max_tokens": 1, "logprob_token_ids": list(token_ids.values())}


def label_token_ids(checkpoint: Checkpoint) -> dict[Expression, int]:
    """The first token of each expression's label word; in a tokenizer of use here they all differ.

    Raises:
        RunError: two labels begin with the same token, so their scores cannot be told apart.
    """
    return first_tokens(AutoTokenizer.from_pretrained(checkpoint.path))


def first_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[Expression, int]:
    """`label_token_ids` of a loaded tokenizer."""
    words = prompt.label_words()
    ids = {e: int(tokenizer(words[e], add_special_tokens=False).input_ids[0]) for e in EXPRESSIONS}
    if len(set(ids.values())) < len(ids):
        raise RunError("two label words begin with the same token of this model's tokenizer")
    return ids


class Engine:
    """One vLLM engine for many callers at once; create it in a process with a running event loop."""

    def __init__(self, checkpoint: Checkpoint, **overrides: Any) -> None:
        from vllm import AsyncEngineArgs, SamplingParams
        from vllm.v1.engine.async_llm import AsyncLLM

        register()
        self._label_token_ids = label_token_ids(checkpoint)
        self._explain = SamplingParams(**explain_sampling())
        self._label = SamplingParams(**label_sampling(self._label_token_ids))
        args = AsyncEngineArgs(model=str(checkpoint.path), **engine_args(checkpoint, **overrides))
        self._engine = AsyncLLM.from_engine_args(args)

    async def explain(
        self,
        features: Float16[np.ndarray, "tokens width"],
        hints: Intensities | None,
        adapter: Adapter | None = None,
    ) -> Answer:
        """Ask both questions about one face; `hints` are the movements measured on it, if given."""
        text, label = await asyncio.gather(
            self._generate(prompt.explain(hints), features, self._explain, adapter),
            self._generate(prompt.ask_label(hints), features, self._label, adapter),
        )
        answer = text.outputs[0]
        return Answer(
            text=answer.text,
            prompt_tokens=len(text.prompt_token_ids),
            generated_tokens=len(answer.token_ids),
            label_logprobs=label_logprobs(label.outputs[0].logprobs[0], self._label_token_ids),
        )

    async def complete(self, text: str, features: Float16[np.ndarray, "tokens width"]) -> Answer:
        """Go on from a prompt, which may end in the first words of the answer; the label is not asked for."""
        output = await self._generate(text, features, self._explain)
        answer = output.outputs[0]
        return Answer(answer.text, len(output.prompt_token_ids), len(answer.token_ids), {})

    async def _generate(
        self, text: str, features: np.ndarray, sampling: Any, adapter: Adapter | None = None
    ) -> Any:
        request = {"prompt": text, "multi_modal_data": {"image": features[None]}}
        lora = None if adapter is None else adapter.request()
        async for output in self._engine.generate(
            request, sampling, request_id=uuid.uuid4().hex, lora_request=lora
        ):
            last = output
        return last

    def shutdown(self) -> None:
        """End the engine's processes."""
        self._engine.shutdown()
        del self._engine  # else vLLM shuts it down once more when the interpreter ends, and complains


def label_logprobs(found: Mapping[int, Any], token_ids: Mapping[Expression, int]) -> dict[Expression, float]:
    """vLLM's log probabilities of the next token into those of the expressions' first tokens."""
    return {expression: float(found[token].logprob) for expression, token in token_ids.items()}
