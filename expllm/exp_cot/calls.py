"""What is asked of a chat model, what it answers, what that costs, and the limit to it."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from expllm.config import Price
from expllm.errors import RunError

Parameter = bool | int | float | str

_BYTES_A_TOKEN = 2
"""Fewer than any text of ours has, so that no call costs more than was put aside for it."""
_FRAME_TOKENS = 16
"""At most what a chat template adds around one message."""
_LONGEST_NAMES = ("max_completion_tokens", "max_tokens")


class TeacherFailed(RunError):
    """One call got no answer, after all tries; other calls may get one."""


class OutOfMoney(RunError):
    """The next call could cost more than is left under the spending limit."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Call:
    """One question to a chat model, with all that shapes the answer."""

    model: str
    messages: tuple[Message, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, object]:
        """The request of the chat completions interface."""
        return {**self.parameters, "model": self.model, "messages": [asdict(m) for m in self.messages]}

    @property
    def key(self) -> str:
        """The SHA-256 of everything in it, in hex: equal calls have equal keys."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()

    @property
    def most_tokens(self) -> tuple[int, int | None]:
        """Most tokens of the prompt and of the answer; None where the parameters do not bound the answer."""
        prompt = sum(most_tokens(message.content) + _FRAME_TOKENS for message in self.messages)
        longest = next((self.parameters[n] for n in _LONGEST_NAMES if n in self.parameters), None)
        return prompt, None if longest is None else int(longest)


@dataclass(frozen=True)
class Completion:
    """What a chat model answered."""

    text: str
    """Empty where the answer was cut off at its token limit: a part of an answer is none."""
    prompt_tokens: int
    generated_tokens: int


def most_tokens(text: str) -> int:
    """At least as many tokens as any tokenizer makes of a text in English."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


Complete = Callable[[Call], Completion]
"""Asks a model. Raises TeacherFailed, OutOfMoney, or what ends the run."""


def cost(price: Price, prompt_tokens: int, generated_tokens: int) -> float:
    """What so many tokens cost, in the currency of the price."""
    return (prompt_tokens * price.prompt + generated_tokens * price.answer) / 1e6


class Purse:
    """What may still be spent: calls put the most that they can cost aside, and then pay what they did."""

    def __init__(self, most: float, spent: float = 0.0) -> None:
        self._left = most - spent
        self._lock = threading.Lock()

    def put_aside(self, amount: float) -> bool:
        """Put an amount aside; False, and nothing is, where less than that is left."""
        with self._lock:
            if amount > self._left:
                return False
            self._left -= amount
            return True

    def give_back(self, amount: float) -> None:
        """Put back what was put aside and not paid."""
        with self._lock:
            self._left += amount


@dataclass
class Meter:
    """Counts calls and their tokens: those of one face."""

    calls: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0

    def counting(self, complete: Complete) -> Complete:
        """The same, with every call counted."""

        def counted(call: Call) -> Completion:
            completion = complete(call)
            self.calls += 1
            self.prompt_tokens += completion.prompt_tokens
            self.generated_tokens += completion.generated_tokens
            return completion

        return counted
