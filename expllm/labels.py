"""A face and the model's answer, or a photograph without either, into one row of the labels table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expllm import cot, prompt, tables
from expllm.errors import Outcome, Reject
from expllm.expressions import EXPRESSIONS, Expression

Row = dict[str, Any]
"""One row of tables.LABELS: every column is a key, None where it says nothing."""


@dataclass(frozen=True)
class Answer:
    """What the model gave for one face: the text after prompt.explain, the scores after prompt.ask_label."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    label_logprobs: Mapping[Expression, float]
    """Log probability of the first token of each expression's label word; empty if it was not asked."""

    @property
    def is_truncated(self) -> bool:
        """Whether the text reached the token limit."""
        return self.generated_tokens >= prompt.MAX_ANSWER_TOKENS


def label_face(face: Mapping[str, Any], answer: Answer | Reject, *, temperature: float = 1.0) -> Row:
    """Label one face by the model's answer, or say why it has no label.

    Args:
        face: The columns of tables.LABELS that are known before; other keys are left out.
        answer: The engine's answer, or why it gave none.
        temperature: Of the checkpoint: what the label-only scores are divided by to be calibrated.
    """
    if isinstance(answer, Reject):
        return _row(face, _rejected(answer))
    chain = cot.parse(answer.text, truncated=answer.is_truncated)
    tokens = {"prompt_tokens": answer.prompt_tokens, "generated_tokens": answer.generated_tokens}
    if isinstance(chain, Reject):
        return _row(face, tokens, _rejected(chain))
    return _row(
        face,
        tokens,
        _chain(chain),
        _agreement(chain, face.get("action_units")),
        _confidence(chain.expression, scores(answer.label_logprobs, temperature=temperature)),
        {"outcome": str(Outcome.LABELLED)},
    )


def photograph_row(photograph: Mapping[str, Any], reason: Reject | None) -> Row:
    """Give the row of a photograph without a face, or, with a reason, of one that could not be used."""
    return _row(photograph, {"outcome": str(Outcome.NO_FACE)} if reason is None else _rejected(reason))


def scores(
    label_logprobs: Mapping[Expression, float], *, temperature: float
) -> dict[Expression, float] | None:
    """Turn label-only log probabilities into calibrated probabilities of the eight, which sum to 1.

    An expression without a log probability has none; without any at all the result is None.
    """
    if not label_logprobs:
        return None
    highest = max(label_logprobs.values())
    weights = {e: math.exp((logprob - highest) / temperature) for e, logprob in label_logprobs.items()}
    return {e: weights.get(e, 0.0) / sum(weights.values()) for e in EXPRESSIONS}


def _row(*parts: Mapping[str, Any]) -> Row:
    known = {column: value for part in parts for column, value in part.items()}
    return {column: known.get(column) for column in tables.LABELS.names}


def _rejected(reason: Reject) -> Row:
    return {"outcome": str(Outcome.REJECTED), "reject_reason": str(reason)}


def _chain(chain: cot.ChainOfThought) -> Row:
    dominant, secondary = cot.weighed(chain.interpretation)
    return {
        "key_observations": chain.key_observations,
        "interpretation": chain.interpretation,
        "conclusion": chain.conclusion,
        "observations": [_observation(o) for o in cot.observations(chain.key_observations)],
        "dominant": dominant and str(dominant),
        "secondary": secondary and str(secondary),
        "expression": str(chain.expression),
    }


def _observation(observation: cot.Observation) -> Row:
    return {
        "au": observation.number,
        "side": observation.side and str(observation.side),
        "strength": observation.strength and str(observation.strength),
        "associated": [str(expression) for expression in observation.associated],
    }


def _agreement(chain: cot.ChainOfThought, action_units: Mapping[str, float | None] | None) -> Row:
    if action_units is None:
        return {}
    agreement = cot.agreement(cot.observations(chain.key_observations), action_units)
    return {"au_precision": agreement.precision, "au_recall": agreement.recall}


def _confidence(expression: Expression, calibrated: Mapping[Expression, float] | None) -> Row:
    """The label is the chain's; the calibrated scores say how sure the model is of it."""
    if calibrated is None:
        return {}
    return {
        "confidence": calibrated[expression],
        "expression_scores": {str(e): score for e, score in calibrated.items()},
        "label_only_agrees": max(calibrated, key=calibrated.__getitem__) is expression,
    }
