"""A checkpoint -> whether vLLM serves what was trained: its record, Transformers and the engine compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer

from expllm import gate
from expllm.errors import RunError
from expllm.models import adapters, frozen, recording
from expllm.models.architecture import ExpllmConfig, ExpllmForConditionalGeneration
from expllm.models.checkpoint import Checkpoint, resolve
from expllm.models.encoder import Encoder
from expllm.models.engine import engine_args, explain_sampling
from expllm.models.recording import Features
from expllm.models.registration import register

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Passed:
    """What a checkpoint that may serve was found to be."""

    checkpoint: Checkpoint
    record: gate.Record
    is_adapter: bool
    """Whether an engine that serves its base can take in its adapter alone while it runs."""
    worst: float
    """The largest difference of a log probability between the engine and Transformers on the same files."""
    away: float
    """The mean difference of the engine's log probabilities from the trainer's own."""

    def told(self) -> str:
        """What was found, in one line."""
        adapters = self.record.adapters.items()
        norms = "".join(f", the {part}'s adapter has a norm of {one.norm:.3g}" for part, one in adapters)
        way = (
            "its adapter alone as well" if self.is_adapter else "merged: a service has to be started with it"
        )
        return (
            f"passed: log probabilities at most {self.worst:.1e} from Transformers' and on average "
            f"{self.away:.1e} from the trainer's{norms}; {way}"
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
    judge = partial(gate.disagreements, record, allowed=gate.TOLERANCES[dtype])
    overrides = {"dtype": dtype, "max_num_seqs": len(frozen.prompts()), **engine_kwargs}
    base = adapters.base(checkpoint.path)
    if base is not None:
        # The files hold the adapter merged and rounded; alone it must do what it did for the trainer.
        alone = _in_vllm(base, record, overrides, checkpoint.path)
        _refuse(f"{model} (its adapter alone)", judge(record.scores, alone))
    again = _in_transformers(checkpoint, record)
    engine = _in_vllm(checkpoint, record, overrides)
    _refuse(model, judge(again, engine))
    return Passed(
        checkpoint,
        record,
        base is not None,
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


def _features(checkpoint: Checkpoint) -> Features:
    """What the encoder of labelling and serving makes of the frozen faces."""
    return Encoder(checkpoint).encode(frozen.crops(checkpoint.preprocessing.size_px))


def _in_transformers(checkpoint: Checkpoint, record: gate.Record) -> tuple[gate.Scores, ...]:
    model = ExpllmForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    return recording.scores(model, record.reading, record.texts, _features(checkpoint))


def _in_vllm(
    checkpoint: Checkpoint,
    record: gate.Record,
    overrides: dict[str, Any],
    adapted: Path | None = None,
) -> gate.Answers:
    """What an engine of the project's arguments answers; that of `adapted` has its adapter laid over it."""
    from vllm import LLM
    from vllm.v1.engine.exceptions import EngineDeadError

    register()
    lora, request = {}, None
    if adapted is not None:
        lora = adapters.engine_args(adapters.rank(adapted), count=1)
        request = adapters.Adapter("adapter", 1, adapted / adapters.FOLDER).request()
    try:
        engine = LLM(model=str(checkpoint.path), **engine_args(checkpoint, **{**lora, **overrides}))
        try:
            return _asked(engine, record, _features(checkpoint), request)
        finally:
            engine.llm_engine.engine_core.shutdown()
    except (RuntimeError, ValueError, EngineDeadError) as error:
        model = adapted or checkpoint.path
        raise RunError(f"{model}: vLLM does not run it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _asked(engine: Any, record: gate.Record, features: Features, lora: Any) -> gate.Answers:
    from vllm import SamplingParams

    label_ids = list(record.reading.label_tokens)
    write = SamplingParams(**explain_sampling())
    name = SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=label_ids)
    score = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
    generate = partial(engine.generate, lora_request=lora, use_tqdm=False)
    images = [{"image": of_face[None]} for of_face in features for _ in range(2)]
    asked = generate(
        [{"prompt": p, "multi_modal_data": image} for p, image in zip(frozen.prompts(), images, strict=True)],
        [write, name] * len(features),
    )
    given = generate(_with_texts(record, features, engine.get_tokenizer()), score)
    found = [
        [row[token] for row, token in zip(one.prompt_logprobs[-len(text) :], text, strict=True)]
        for one, text in zip(given, record.texts, strict=True)
    ]
    named = [[one.outputs[0].logprobs[0][token].logprob for token in label_ids] for one in asked[1::2]]
    return gate.Answers(
        questions=tuple(tuple(one.prompt_token_ids) for one in asked),
        scores=tuple(
            gate.Scores(labels=labels, text=[token.logprob for token in text])
            for labels, text in zip(named, found, strict=True)
        ),
        are_first=tuple(tuple(token.rank == 1 for token in text) for text in found),
        text_labels=tuple(recording.text_label(one.outputs[0].text) for one in asked[::2]),
    )


def _with_texts(record: gate.Record, features: Features, tokenizer: Any) -> list[dict[str, Any]]:
    """Each frozen prompt with the trainer's text behind it, as tokens, for the engine to score."""
    requests = []
    for question, text, of_face in zip(frozen.prompts()[::2], record.texts, features, strict=True):
        ids = tokenizer(question, add_special_tokens=False).input_ids
        requests.append({"prompt_token_ids": [*ids, *text], "multi_modal_data": {"image": of_face[None]}})
    return requests
