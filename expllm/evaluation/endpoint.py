"""Questions of an evaluation -> the answers of any model behind an OpenAI-compatible endpoint.

It sees the same aligned crop as our models do, as a PNG in a data URL, and is asked in the same words. A
model that was not trained on the form of answers is told it first.
"""

import base64
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from expllm import cot, prompt
from expllm.chat import Declined, Endpoint, Names, NoAnswer, Refused
from expllm.errors import CallerError, Reject, RunError
from expllm.evaluation.answers import Question, Reply
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import ACTION_UNITS, Strength

PREFIX = "openai:"
_KEYS = ("EXPLLM_ENDPOINT_KEY", "OPENAI_API_KEY")
_NAMES = Names("openai:URL", "#MODEL", " or ".join(_KEYS))
_TIMEOUT_S = 120
_RETRIES = 4
_AT_ONCE = 8
_MOST_FAILED = 16
"""So many requests without an answer in a row, and the endpoint is asked no more."""
_MAX_TOKENS = 600
"""More than our models are given: other tokenizers need more for the same text."""
_TOP = 20
"""Tokens whose log probabilities are asked for; the most that the interface allows."""

_CHAIN = (
    f"{cot.begin(cot.KEY_OBSERVATIONS)} each movement with its strength and, in brackets, the expressions "
    'that it is associated with; movements are parted by commas and semicolons, such as "strong cheek '
    'raiser, strong lip corner puller (happiness); clear left dimpler (contempt)."',
    f"{cot.begin(cot.INTERPRETATION)} how the movements act together, the dominant expression and the "
    "runner-up.",
    f"{cot.begin(cot.CONCLUSION)} what follows, in one sentence.",
)
_LABEL = f"{cot.begin(cot.EXPRESSION)} one word, the expression."


def form(*, label_first: bool = False) -> str:
    """Tell the form of answers to a model that does not know it; the words are those of `cot` and `facs`."""
    lines = [_LABEL, *_CHAIN] if label_first else [*_CHAIN, _LABEL]
    movements = ", ".join(unit.name for unit in ACTION_UNITS.values())
    return "\n".join(
        (
            "You read the facial expression in a photograph of one face. Asked to explain it, answer with",
            "exactly these four lines and nothing else:",
            *lines,
            f"The movements are: {movements}. One that only one side of the face shows has the person's own",
            f"left or right before its name. Strengths are: {', '.join(Strength)}.",
            f"The expressions are: {', '.join(e.word for e in EXPRESSIONS)}.",
            "Asked to name the expression, answer with its one word.",
            f"If no face can be made out, the whole answer is: {cot.NOT_VISIBLE}",
        )
    )


def parse_name(name: str) -> tuple[str, str]:
    """The address and the model of `openai:URL#MODEL`.

    Raises:
        CallerError: it is not of that form.
    """
    url, _, model = name.removeprefix(PREFIX).partition("#")
    if not url.startswith(("http://", "https://")) or not model:
        raise CallerError("an endpoint is written openai:URL#MODEL: openai:https://api.openai.com/v1#gpt-4o")
    return url, model


def key_from(environment: Mapping[str, str]) -> str | None:
    """The key that an endpoint is given, from the environment; None where there is none."""
    return next((key for name in _KEYS if (key := environment.get(name, "").strip())), None)


class EndpointAnswerer:
    """Answers by an endpoint; rows that get no answer are counted as such.

    Args:
        name: `openai:URL#MODEL`.
        has_form: Whether the endpoint's model is told the form of answers; one trained on it need not be.
        tell: Is told in one line if the endpoint dies on the way.

    Raises:
        CallerError: the name is not of that form, or the URL or the environment's key cannot be one.
    """

    temperature = 1.0
    continues = False

    def __init__(
        self,
        name: str,
        *,
        has_form: bool = True,
        tell: Callable[[str], None] = print,
        retries: int = _RETRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url, self._model = parse_name(name)
        self.can_put_label_first = has_form
        self._has_form, self._tell = has_form, tell
        key = key_from(os.environ)
        self._endpoint = Endpoint(url, key, _NAMES, timeout_s=_TIMEOUT_S, retries=retries, sleep=sleep)
        self._breaker = _Breaker(_MOST_FAILED)
        self._has_answered = False
        self._tells_logprobs = True

    def answer(self, questions: Sequence[Question]) -> list[Reply | Reject]:
        """Ask several at a time; the first alone, so that what is wrong with all of them is told at once.

        Raises:
            CallerError: the endpoint refuses such requests.
            RunError: it has never given an answer.
        """
        if not questions:
            return []
        if self._has_answered:
            return self._answers(questions)
        try:
            first = self._reply(questions[0])
        except Declined as error:
            raise CallerError(f"{error}; check that {self._model} takes pictures in a chat") from error
        except NoAnswer as error:
            raise RunError(f"{error}; nothing was evaluated") from error
        self._has_answered = True
        return [first, *self._answers(questions[1:])]

    def _answers(self, questions: Sequence[Question]) -> list[Reply | Reject]:
        was_open = self._breaker.is_open
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            replies = list(threads.map(self._contained, questions))
        if self._breaker.is_open and not was_open:
            lost = sum(isinstance(reply, Reject) for reply in replies)
            self._tell(f"the endpoint gives no answers any more: {lost} questions have none")
        return replies

    def _contained(self, question: Question) -> Reply | Reject:
        """One answer; a failure costs its own row, and after many in a row nothing is asked any more."""
        if self._breaker.is_open:
            return Reject.GENERATION_FAILED
        try:
            reply = self._reply(question)
        except (NoAnswer, Refused):
            self._breaker.count(has_failed=True)
            return Reject.GENERATION_FAILED
        self._breaker.count(has_failed=False)
        return reply

    def _reply(self, question: Question) -> Reply:
        said = self._endpoint.ask(self._body(question, prompt.words(question.hints)), _read)
        if said.text is None:
            raise NoAnswer(f"{self._model}: its answer holds no text")
        return Reply(
            text=said.text,
            is_truncated=said.is_truncated,
            generated_tokens=said.generated_tokens,
            label_logprobs=self._scores(question) if question.is_scored else {},
        )

    def _scores(self, question: Question) -> dict[Expression, float]:
        """What the label-only question gives; nothing where the endpoint tells no log probabilities."""
        if not self._tells_logprobs:
            return {}
        body = self._body(question, prompt.words(question.hints, label_only=True))
        scored = {**body, "max_tokens": 16, "logprobs": True, "top_logprobs": _TOP}
        try:
            return label_logprobs(self._endpoint.ask(scored, _read).logprobs)
        except (Declined, Refused):
            self._tells_logprobs = False
            return {}

    def _body(self, question: Question, words: str) -> dict[str, Any]:
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(question)}},
            {"type": "text", "text": words},
        ]
        told = [{"role": "system", "content": form(label_first=question.is_label_first)}]
        messages = [*(told if self._has_form else []), {"role": "user", "content": content}]
        return {"model": self._model, "messages": messages, "temperature": 0, "max_tokens": _MAX_TOKENS}


class _Breaker:
    """Counts failures in a row, over all threads, and says when to ask no more."""

    def __init__(self, most: int) -> None:
        self._most, self._failed = most, 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether so many failed in a row that the endpoint is taken for dead."""
        return self._failed >= self._most

    def count(self, *, has_failed: bool) -> None:
        """Take note of one request."""
        with self._lock:
            self._failed = self._failed + 1 if has_failed else 0


@dataclass(frozen=True)
class _Said:
    """What we use of one answer."""

    text: str | None
    is_truncated: bool
    generated_tokens: int | None
    logprobs: Any


def _read(answer: Any) -> _Said:
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    text, used = choice["message"]["content"], usage.get("completion_tokens")
    if text is not None:
        text.encode()  # half a surrogate pair is no text, and could not be written
    return _Said(
        text=text,
        is_truncated=choice.get("finish_reason") == "length",
        generated_tokens=used if isinstance(used, int) else None,
        logprobs=choice.get("logprobs"),
    )


def label_logprobs(told: Any) -> dict[Expression, float]:
    """The log probabilities of the expressions at the first token that begins one's name.

    Args:
        told: What a completion says under `logprobs`; anything but what the interface promises gives nothing.
    """
    try:
        for token in told["content"]:
            if _begun(token["token"]) is not None:
                return _best(token["top_logprobs"] or [token])
    except (LookupError, TypeError, ValueError, AttributeError):
        pass
    return {}


def _best(tokens: Sequence[Mapping[str, Any]]) -> dict[Expression, float]:
    found: dict[Expression, float] = {}
    for token in tokens:
        expression, logprob = _begun(token["token"]), float(token["logprob"])
        if expression is not None:
            found[expression] = max(found.get(expression, logprob), logprob)
    return found


def _begun(token: str) -> Expression | None:
    """The one expression whose name a token begins; `S` could be two."""
    start = token.strip().lower()
    fitting = [e for e in EXPRESSIONS if start and e.value.startswith(start)]
    return fitting[0] if len(fitting) == 1 else None


def _data_url(question: Question) -> str:
    picture = BytesIO()
    Image.fromarray(question.face.crop).save(picture, "PNG")
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
