"""Faces and what a model says of them into one number a face, and those into the figures of a report.

Every figure is a function of `Columns`, so that the same code serves all faces, some of them, and a resample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from expllm import cot, labels, metrics
from expllm.evaluation.answers import Said
from expllm.evaluation.texts import associations_correct, naming
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import Intensities

_INDEX = {expression: index for index, expression in enumerate(EXPRESSIONS)}
_NOTHING = len(EXPRESSIONS)


class Truth(Protocol):
    """What is known of a face."""

    @property
    def expression(self) -> Expression | None: ...
    @property
    def action_units(self) -> Intensities | None: ...


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of each face, side by side."""

    true: Int[np.ndarray, " faces"]
    """Places in EXPRESSIONS."""
    predicted: Int[np.ndarray, " faces"]
    """The same; len(EXPRESSIONS) where there is no label."""
    values: Mapping[str, Float[np.ndarray, " faces"]]
    """Figure -> its value for each face, NaN where there is nothing to measure."""

    def take(self, places: Int[np.ndarray, " drawn"]) -> "Columns":
        """Some of the faces, which may be told more than once."""
        return Columns(
            self.true[places],
            self.predicted[places],
            {name: values[places] for name, values in self.values.items()},
        )

    def confusion(self) -> Int[np.ndarray, "true predicted"]:
        """What metrics.confusion counts."""
        cells = np.bincount(self.true * (_NOTHING + 1) + self.predicted, minlength=_NOTHING * (_NOTHING + 1))
        return cells.reshape(_NOTHING, _NOTHING + 1)


CONFIDENCE, RAW_CONFIDENCE = "confidence", "raw_confidence"
MEANS = (
    "parsed",
    "au_precision",
    "au_recall",
    "au_strength_within_a_band",
    "au_precision_measured",
    "au_recall_measured",
    "au_strength_within_a_band_measured",
    "associations_correct",
    "label_only_accuracy",
    "label_only_agrees",
    "generated_tokens",
)
"""The figures that are the mean over the faces where there is something to measure.

Those of action units are against the true ones where the data know them, else against those measured; those
that end in `_measured` are always against those measured.
"""


def columns(
    faces: Sequence[Truth],
    said: Sequence[Said],
    measured: Sequence[Intensities | None],
    *,
    temperature: float = 1.0,
) -> Columns:
    """Put faces, all with a known expression, beside what a model says of them.

    Args:
        measured: The movements measured on each face; None where it was not found.
        temperature: What the label scores are divided by to be calibrated.
    """
    knows_truth = any(face.action_units is not None for face in faces)
    rows = [
        _row(face, one, face.action_units if knows_truth else seen, seen, temperature)
        for face, one, seen in zip(faces, said, measured, strict=True)
    ]
    return Columns(
        np.array([_INDEX[face.expression] for face in faces if face.expression], dtype=np.int64),
        np.array([_NOTHING if one.expression is None else _INDEX[one.expression] for one in said], np.int64),
        {name: _floats([row[name] for row in rows]) for name in (*MEANS, CONFIDENCE, RAW_CONFIDENCE)},
    )


def _row(
    face: Truth, said: Said, reference: Intensities | None, measured: Intensities | None, temperature: float
) -> dict[str, float | None]:
    text = said.key_observations
    named, seen = naming(text, reference), naming(text, measured)
    only = said.label_only
    return {
        "parsed": said.parsed,
        "au_precision": named.precision,
        "au_recall": named.recall,
        "au_strength_within_a_band": named.strength_within_a_band,
        "au_precision_measured": seen.precision,
        "au_recall_measured": seen.recall,
        "au_strength_within_a_band_measured": seen.strength_within_a_band,
        "associations_correct": None if text is None else associations_correct(cot.observations(text)),
        "label_only_accuracy": None if only is None else only is face.expression,
        "label_only_agrees": None if only is None or said.expression is None else only is said.expression,
        "generated_tokens": said.generated_tokens,
        CONFIDENCE: _confidence(said, temperature),
        RAW_CONFIDENCE: _confidence(said, 1.0),
    }


def _confidence(said: Said, temperature: float) -> float | None:
    scores = labels.scores(said.label_logprobs, temperature=temperature)
    return scores[said.expression] if scores and said.expression else None


def _floats(values: Sequence[float | None]) -> Float[np.ndarray, " faces"]:
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def _mean(name: str) -> Callable[[Columns], float | None]:
    def figure(columns: Columns) -> float | None:
        values = columns.values[name]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else None

    return figure


def _calibration(name: str) -> Callable[[Columns], float | None]:
    def figure(columns: Columns) -> float | None:
        confidences = columns.values[name]
        sure = ~np.isnan(confidences)
        return metrics.calibration_error(confidences[sure], (columns.true == columns.predicted)[sure])

    return figure


FIGURES: Mapping[str, Callable[[Columns], float | None]] = {
    "accuracy": lambda columns: metrics.accuracy_of(columns.confusion()),
    "balanced_accuracy": lambda columns: metrics.balanced_accuracy_of(columns.confusion()),
    "macro_f1": lambda columns: metrics.macro_f1_of(columns.confusion()),
    "calibration_error": _calibration(CONFIDENCE),
    "calibration_error_before": _calibration(RAW_CONFIDENCE),
    **{name: _mean(name) for name in MEANS},
}
"""Figure -> how it comes of the columns; None where there is nothing to measure. All but tokens are 0..1."""


def by_class(counts: Int[np.ndarray, "true predicted"]) -> list[dict[str, object]]:
    """Faces, recall, precision and F1 of each expression; None where a share is of nothing."""
    hits, shown = np.diagonal(counts), counts.sum(axis=1)
    named = counts.sum(axis=0)[:_NOTHING]
    return [
        {
            "expression": str(expression),
            "faces": int(shown[i]),
            "recall": _share(hits[i], shown[i]),
            "precision": _share(hits[i], named[i]),
            "f1": _share(2 * hits[i], shown[i] + named[i]),
        }
        for i, expression in enumerate(EXPRESSIONS)
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def reliability(columns: Columns, num_bins: int = 10) -> list[dict[str, float | int]]:
    """Mean confidence, accuracy and faces of each equal bin of confidence that has faces."""
    confidences = columns.values[CONFIDENCE]
    right = columns.true == columns.predicted
    bins = np.minimum(np.nan_to_num(confidences, nan=-1) * num_bins, num_bins - 1).astype(int)
    places = [np.flatnonzero((bins == i) & ~np.isnan(confidences)) for i in range(num_bins)]
    return [
        {
            "confidence": float(confidences[p].mean()),
            "accuracy": float(right[p].mean()),
            "faces": len(p),
        }
        for p in places
        if len(p)
    ]
