"""True and predicted expressions, and scores, into the figures that evaluation reports."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from expllm.expressions import EXPRESSIONS, Expression

_INDEX = {expression: index for index, expression in enumerate(EXPRESSIONS)}


def confusion(
    true: Sequence[Expression], predicted: Sequence[Expression | None]
) -> Int[np.ndarray, "true predicted"]:
    """Count faces by true expression (rows) and prediction (columns), both in the order of EXPRESSIONS.

    The last of the nine columns counts faces without a prediction: they are errors, not left out.
    """
    counts = np.zeros((len(EXPRESSIONS), len(EXPRESSIONS) + 1), dtype=np.int64)
    for actual, guess in zip(true, predicted, strict=True):
        counts[_INDEX[actual], len(EXPRESSIONS) if guess is None else _INDEX[guess]] += 1
    return counts


def accuracy(true: Sequence[Expression], predicted: Sequence[Expression | None]) -> float | None:
    """Share of the faces whose prediction is right; None without faces."""
    return accuracy_of(confusion(true, predicted))


def accuracy_of(counts: Int[np.ndarray, "true predicted"]) -> float | None:
    """`accuracy` of what `confusion` counts."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else None


def recalls(
    true: Sequence[Expression], predicted: Sequence[Expression | None]
) -> dict[Expression, float | None]:
    """Share of each expression's faces that are predicted as such; None for an expression without faces."""
    return recalls_of(confusion(true, predicted))


def recalls_of(counts: Int[np.ndarray, "true predicted"]) -> dict[Expression, float | None]:
    """`recalls` of what `confusion` counts."""
    totals = counts.sum(axis=1)
    return {e: float(counts[i, i] / totals[i]) if totals[i] else None for e, i in _INDEX.items()}


def balanced_accuracy(true: Sequence[Expression], predicted: Sequence[Expression | None]) -> float | None:
    """Mean recall over the expressions that have faces; None without faces."""
    return balanced_accuracy_of(confusion(true, predicted))


def balanced_accuracy_of(counts: Int[np.ndarray, "true predicted"]) -> float | None:
    """`balanced_accuracy` of what `confusion` counts."""
    known = [recall for recall in recalls_of(counts).values() if recall is not None]
    return float(np.mean(known)) if known else None


def macro_f1(true: Sequence[Expression], predicted: Sequence[Expression | None]) -> float | None:
    """Mean F1 over the expressions that are true or predicted for some face; None without faces."""
    return macro_f1_of(confusion(true, predicted))


def macro_f1_of(counts: Int[np.ndarray, "true predicted"]) -> float | None:
    """`macro_f1` of what `confusion` counts."""
    hits = np.diagonal(counts)
    sizes = counts.sum(axis=1) + counts.sum(axis=0)[:-1]
    seen = sizes > 0
    return float(np.mean(2 * hits[seen] / sizes[seen])) if seen.any() else None


def calibration_error(
    confidences: Float[np.ndarray, " faces"], correct: Sequence[bool], *, num_bins: int = 15
) -> float | None:
    """Expected calibration error over equal bins: mean gap of confidence and accuracy, weighted by faces.

    None without faces.

    Source:
        Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks (ICML 2017).
    """
    if len(confidences) == 0:
        return None
    bins = np.minimum((confidences * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, weights=confidences - np.asarray(correct, dtype=float), minlength=num_bins)
    return float(np.abs(gaps).sum() / len(confidences))
