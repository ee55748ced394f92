"""What a model is asked about a face, who answers, and what is read of the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float16, UInt8

from expllm import cot, labels
from expllm.cot import ChainOfThought
from expllm.errors import Reject
from expllm.expressions import Expression
from expllm.facs import Intensities

NO_FACE = "no_face"
"""The reason of a photograph in which no face was found."""
UNREADABLE_TEXTS = frozenset({str(Reject.TEXT_MALFORMED), str(Reject.TEXT_TRUNCATED)})


@dataclass(frozen=True, eq=False)
class SeenFace:
    """One face as it is found in a photograph."""

    crop: UInt8[np.ndarray, "112 112 3"]
    measured: Intensities
    """The movements that are measured on it: what hints tell."""
    features: Float16[np.ndarray, "tokens width"]
    """Of the model's encoder; who reads pixels leaves them."""


@dataclass(frozen=True, eq=False)
class Question:
    """One request for a chain of thought."""

    face: SeenFace
    hints: Intensities | None
    is_scored: bool = False
    """Whether the label-only question is asked as well."""
    is_label_first: bool = False
    """Whether the label is to be written before the chain."""
    begun: str = ""
    """The answer's first words, where they are given and only the rest is asked for."""


@dataclass(frozen=True)
class Reply:
    """What came of one question."""

    text: str
    """The whole answer, with the words it was begun with."""
    is_truncated: bool
    generated_tokens: int | None
    label_logprobs: Mapping[Expression, float] = field(default_factory=dict)
    """Of the label-only question; empty where it was not asked or nothing is told."""


class Answerer(Protocol):
    """A model that answers questions about faces."""

    temperature: float
    """What its label scores are divided by to be calibrated."""
    continues: bool
    """Whether it goes on from the first words of an answer that it is given."""
    can_put_label_first: bool
    """Whether it can be made to write the label before the chain."""

    def answer(self, questions: Sequence[Question]) -> list[Reply | Reject]:
        """Answer in the order of the questions; one that gets no answer has its reason."""
        ...


@dataclass(frozen=True)
class Said:
    """What a model says of one picture; None where it says nothing about it."""

    expression: Expression | None = None
    confidence: float | None = None
    key_observations: str | None = None
    parsed: bool | None = None
    """Whether its text follows the grammar; None where it writes no text, or was shown no face."""
    generated_tokens: int | None = None
    label_logprobs: Mapping[Expression, float] = field(default_factory=dict)
    reason: str | None = None
    """Why there is no label: a Reject's value, or NO_FACE."""

    @property
    def label_only(self) -> Expression | None:
        """The answer to the label-only question; None where nothing is told of it."""
        return max(self.label_logprobs, key=self.label_logprobs.__getitem__, default=None)


def read(reply: Reply | Reject, temperature: float) -> Said:
    """Read an answer by the grammar, as the labels table does; nothing is guessed."""
    if isinstance(reply, Reject):
        return Said(reason=str(reply))
    chain = cot.parse(reply.text, truncated=reply.is_truncated)
    if not isinstance(chain, ChainOfThought):
        is_wrong = str(chain) in UNREADABLE_TEXTS
        return Said(
            parsed=False if is_wrong else None,
            generated_tokens=reply.generated_tokens,
            label_logprobs=reply.label_logprobs,
            reason=str(chain),
        )
    scores = labels.scores(reply.label_logprobs, temperature=temperature)
    return Said(
        expression=chain.expression,
        confidence=scores[chain.expression] if scores else None,
        key_observations=chain.key_observations,
        parsed=True,
        generated_tokens=reply.generated_tokens,
        label_logprobs=reply.label_logprobs,
    )
