"""Label scores and true labels into the temperature that makes the scores honest, and what it would give."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from expllm import metrics

_TEMPERATURES = np.geomspace(0.25, 8, 101)


def fit_temperature(
    logprobs: Float32[np.ndarray, "faces expressions"], expressions: Int64[np.ndarray, " faces"]
) -> float:
    """The temperature at which the eight scores give the true labels the highest likelihood."""
    losses = [_loss(logprobs / temperature, expressions) for temperature in _TEMPERATURES]
    return round(float(_TEMPERATURES[int(np.argmin(losses))]), 3)


def refitted_error(
    logprobs: Float[np.ndarray, "faces expressions"],
    true: Int64[np.ndarray, " faces"],
    predicted: Int64[np.ndarray, " faces"],
    people: Sequence[Hashable],
) -> float | None:
    """The calibration error with a temperature fitted on these data: each half's by the other half.

    People stay whole. None where there are not enough people for two halves.

    Args:
        predicted: The label that each face has, a place in the expressions.
    """
    known = sorted(set(people), key=str)
    first = np.isin([known.index(person) for person in people], range(0, len(known), 2))
    if first.all() or not first.any():
        return None
    confidences = np.zeros(len(true))
    for half in (first, ~first):
        confidences[half] = _confidences(logprobs, true, predicted, half)
    return metrics.calibration_error(confidences, true == predicted)


def _confidences(
    logprobs: Float[np.ndarray, "faces expressions"],
    true: Int64[np.ndarray, " faces"],
    predicted: Int64[np.ndarray, " faces"],
    half: Bool[np.ndarray, " faces"],
) -> Float[np.ndarray, " half"]:
    temperature = fit_temperature(logprobs[~half], true[~half])
    normalised = _normalised(logprobs[half] / temperature)
    return np.asarray(np.exp(normalised[np.arange(int(half.sum())), predicted[half]]))


def _loss(scores: Float[np.ndarray, "faces expressions"], expressions: Int64[np.ndarray, " faces"]) -> float:
    return float(-_normalised(scores)[np.arange(len(expressions)), expressions].mean())


def _normalised(scores: Float[np.ndarray, "faces expressions"]) -> Float[np.ndarray, "faces expressions"]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
