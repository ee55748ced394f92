"""A checkpoint -> whether vLLM serves what was trained: its record, Transformers and the engine compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer

from expllm import gate
from expllm.errors import CallerError, RunError
from expllm.models import frozen, recording
from expllm.models.architecture import ExpllmConfig, ExpllmForConditionalGeneration
from expllm.models.checkpoint import Checkpoint, resolve
from expllm.models.encoder import Encoder
from expllm.models.engine import engine_args, explain_sampling, lora_args
from expllm.models.recording import ADAPTER, Features
from expllm.models.registration import register

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Passed:
    """What a checkpoint that may serve was found to be."""

    checkpoint: Checkpoint
    record: gate.Record
    adapter: Path | None
    """Its adapter alone, where an engine that serves the base can take it in while it runs."""
    worst: float
    """The largest difference of a log probability between the engine and Transformers on the same files."""
    away: float
    """The mean difference of the engine's log probabilities from the trainer's own."""

    def told(self) -> str:
        """What was found, in one line."""
        adapters = "".join(f", {part}'s adapter {a.norm:.3g}" for part, a in self.record.adapters.items())
        way = "its adapter alone as well" if self.adapter else "merged, so a service has to be started with it"
        return (
            f"passed: log probabilities at most {self.worst:.1e} from Transformers' and on average "
            f"{self.away:.1e} from the trainer's{adapters}; {way}"
        )


def check(model: str, dtype: Dtype, engine_kwargs: dict[str, Any]) -> Passed:
    """Compare what vLLM answers about the frozen faces with what the trainer recorded and Transformers says.

    Args:
        dtype: The engine's numbers; Transformers computes in float32.

    Raises:
        CallerError: there is no such checkpoint, or no training recorded anything of it.
        RunError: the checkpoint must not serve, and all reasons.
    """
    checkpoint = resolve(model)
    record = gate.Record.read(checkpoint.path)
    _refuse(model, [*gate.misread(record.reading, _reading(checkpoint)), *gate.idle(record)])
    features = Encoder(checkpoint).encode(frozen.crops(checkpoint.preprocessing.size_px))
    judge = partial(gate.disagreements, record, allowed=gate.TOLERANCES[dtype])
    overrides = {"dtype": dtype, "max_num_seqs": len(frozen.prompts()), **engine_kwargs}
    again = _in_transformers(checkpoint, record, features)
    engine = _in_vllm(checkpoint, record, features, overrides)
    _refuse(model, judge(again, engine))
    adapter = checkpoint.path / ADAPTER
    base = _base(record) if adapter.is_dir() else None
    if base is not None:
        # The files hold the adapter merged and rounded; alone it must do what it did for the trainer.
        alone = _in_vllm(base, record, features, overrides, adapter)
        _refuse(f"{model} (its adapter alone)", judge(record.scores, alone))
    return Passed(
        checkpoint,
        record,
        adapter if base is not None else None,
        gate.largest_difference(again, engine.scores),
        gate.mean_difference(record.scores, engine.scores),
    )


def _refuse(model: str, reasons: Iterator[str] | Sequence[str]) -> None:
    found = list(reasons)
    if found:
        raise RunError(f"{model} must not serve: {'; '.join(found)}")


def _reading(checkpoint: Checkpoint) -> gate.Reading:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    config = ExpllmConfig.from_pretrained(checkpoint.path)
    return frozen.reading(tokenizer, config, checkpoint.preprocessing)


def _base(record: gate.Record) -> Checkpoint | None:
    """What the training began with, where it is still there and unaltered."""
    try:
        base = resolve(record.base)
    except CallerError:
        return None
    return base if base.model_id == record.base_id else None


def _in_transformers(
    checkpoint: Checkpoint, record: gate.Record, features: Features
) -> tuple[gate.Scores, ...]:
    model = ExpllmForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    return recording.scores(model, record.reading, record.texts, features)


def _in_vllm(
    checkpoint: Checkpoint,
    record: gate.Record,
    features: Features,
    overrides: dict[str, Any],
    adapter: Path | None = None,
) -> gate.Answers:
    """What an engine of the project's arguments answers; an adapter is laid over the checkpoint."""
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    register()
    lora, request = {}, None
    if adapter is not None:
        lora = lora_args(recording.adapter_rank(adapter), count=1)
        request = LoRARequest(adapter.parent.name, 1, str(adapter))
    engine = LLM(model=str(checkpoint.path), **engine_args(checkpoint, **{**lora, **overrides}))
    try:
        return _asked(engine, record, features, request)
    finally:
        engine.llm_engine.engine_core.shutdown()


def _asked(engine: Any, record: gate.Record, features: Features, lora: Any) -> gate.Answers:
    from vllm import SamplingParams

    label_ids = list(record.reading.label_tokens)
    write = SamplingParams(**explain_sampling())
    label = SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=label_ids)
    score = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
    generate = partial(engine.generate, lora_request=lora, use_tqdm=False)
    images = [{"image": of_face[None]} for of_face in features for _ in range(2)]
    asked = generate(
        [{"prompt": p, "multi_modal_data": image} for p, image in zip(frozen.prompts(), images, strict=True)],
        [write, label] * len(features),
    )
    given = generate(_with_texts(record, features, engine.get_tokenizer()), score)
    rows = [one.prompt_logprobs[-len(text) :] for one, text in zip(given, record.texts, strict=True)]
    found = [
        [row[token] for row, token in zip(of_text, text, strict=True)]
        for of_text, text in zip(rows, record.texts, strict=True)
    ]
    labels = [one.outputs[0].logprobs[0] for one in asked[1::2]]
    return gate.Answers(
        questions=tuple(tuple(one.prompt_token_ids) for one in asked),
        scores=tuple(
            gate.Scores(labels=[of_label[i].logprob for i in label_ids], text=[one.logprob for one in of_text])
            for of_label, of_text in zip(labels, found, strict=True)
        ),
        are_first=tuple(tuple(one.rank == 1 for one in of_text) for of_text in found),
        text_labels=tuple(recording.text_label(one.outputs[0].text) for one in asked[::2]),
    )


def _with_texts(record: gate.Record, features: Features, tokenizer: Any) -> list[dict[str, Any]]:
    """Each frozen prompt with the trainer's text behind it, as tokens, for the engine to score."""
    requests = []
    for question, text, of_face in zip(frozen.prompts()[::2], record.texts, features, strict=True):
        ids = tokenizer(question, add_special_tokens=False).input_ids
        requests.append({"prompt_token_ids": [*ids, *text], "multi_modal_data": {"image": of_face[None]}})
    return requests
