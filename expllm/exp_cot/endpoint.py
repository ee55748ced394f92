"""Calls -> completions of a teacher behind an OpenAI-compatible endpoint."""

from typing import Any

from expllm.chat import Endpoint, Names, NoAnswer
from expllm.config import BuildCotConfig
from expllm.exp_cot.calls import Call, Completion, TeacherFailed, most_tokens

_NAMES = Names("teacher_url", "teacher_model", "the variable that teacher_key names")
_MOST_TOKENS = 10_000_000


def endpoint_of(config: BuildCotConfig, key: str | None) -> Endpoint:
    """The endpoint that a configuration names.

    Raises:
        CallerError: the URL or the key cannot be one.
    """
    return Endpoint(config.teacher_url or "", key, _NAMES, timeout_s=config.timeout_s, retries=config.retries)


def complete(endpoint: Endpoint, call: Call) -> Completion:
    """Ask.

    Raises:
        TeacherFailed: this call gets no answer.
        CallerError: no call would: the key is refused, or there is no such model or address.
    """
    try:
        return endpoint.ask(call.body, lambda answer: _read(answer, call))
    except NoAnswer as error:
        raise TeacherFailed(str(error)) from error


def _read(answer: Any, call: Call) -> Completion:
    """Where an answer does not count its tokens, the most that they can be count."""
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    text, is_whole = choice["message"]["content"] or "", choice.get("finish_reason") in ("stop", None)
    prompt_tokens = _count(usage.get("prompt_tokens", call.most_tokens[0]))
    generated_tokens = _count(usage.get("completion_tokens", most_tokens(text)))
    return Completion(text if is_whole else "", prompt_tokens, generated_tokens)


def _count(tokens: object) -> int:
    if not isinstance(tokens, int) or not 0 <= tokens <= _MOST_TOKENS:
        raise ValueError(f"{tokens!r} is no number of tokens")
    return tokens
