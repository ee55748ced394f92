"""What models say of pictures, beside what is true of them, into the figures of the quality benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.pictures import Picture
from expllm import cot, metrics
from expllm.evaluation.answers import Said
from expllm.evaluation.texts import associations_correct, mean, naming
from expllm.expressions import Expression

FAINT_BELOW = 0.3
"""An expression is faint where its strongest true movement, parted lips aside, is weaker than this."""
_LIPS_PART = "au25"
"""The least drop of the jaw parts the lips: a faint surprise has it strongly."""


@dataclass(frozen=True)
class Quality:
    """The figures of one model; shares are 0..1, None where it gives nothing to measure."""

    faces: int
    faint_faces: int
    accuracy: float | None
    balanced_accuracy: float | None
    lowest_recall: float | None
    lowest_recall_of: str | None
    accuracy_faint: float | None
    """On the faces that `is_faint` picks."""
    accuracy_of_seven: float | None
    """On faces that do not show contempt, the one expression that peers do not know."""
    parsed: float | None
    movements_precision: float | None
    """Share of a text's movements that are truly there."""
    movements_recall: float | None
    strength_within_a_band: float | None
    associations_correct: float | None
    calibration_error: float | None
    generated_tokens: float | None


Pairs = Sequence[tuple[Picture, Said]]


def measure(pairs: Pairs, faint: Pairs = ()) -> Quality:
    """Compare what a model says with the truth; a face without a label counts as wrong.

    Args:
        pairs: What all figures are of but one.
        faint: More pictures for the accuracy on faint expressions, besides those of `pairs`.
    """
    recalls = {e: recall for e, recall in metrics.recalls(*_labels(pairs)).items() if recall is not None}
    lowest = min(recalls, key=recalls.__getitem__, default=None)
    faint = [pair for pair in (*pairs, *faint) if is_faint(pair[0])]
    return Quality(
        faces=len(pairs),
        faint_faces=len(faint),
        accuracy=_accuracy(pairs),
        balanced_accuracy=metrics.balanced_accuracy(*_labels(pairs)),
        lowest_recall=recalls[lowest] if lowest else None,
        lowest_recall_of=str(lowest) if lowest else None,
        accuracy_faint=_accuracy(faint),
        accuracy_of_seven=_accuracy([p for p in pairs if p[0].expression is not Expression.CONTEMPT]),
        parsed=mean(said.parsed for _, said in pairs),
        **_texts(pairs),
        calibration_error=_calibration_error(pairs),
        generated_tokens=mean(said.generated_tokens for _, said in pairs),
    )


def is_faint(picture: Picture) -> bool:
    """Whether an expression is there and its strongest true movement is weaker than FAINT_BELOW."""
    if picture.action_units is None or picture.expression is Expression.NEUTRAL:
        return False
    others = (v for column, v in picture.action_units.items() if column != _LIPS_PART)
    return max((v for v in others if v is not None), default=0.0) < FAINT_BELOW


def _texts(pairs: Pairs) -> dict[str, float | None]:
    """The figures of the texts; those against true movements only where these are known."""
    named = [naming(said.key_observations, picture.action_units) for picture, said in pairs]
    texts = [said.key_observations for _, said in pairs if said.key_observations is not None]
    return {
        "movements_precision": mean(one.precision for one in named),
        "movements_recall": mean(one.recall for one in named),
        "strength_within_a_band": mean(one.strength_within_a_band for one in named),
        "associations_correct": mean(associations_correct(cot.observations(text)) for text in texts),
    }


def _labels(pairs: Pairs) -> tuple[list[Expression], list[Expression | None]]:
    return [picture.expression for picture, _ in pairs], [said.expression for _, said in pairs]


def _accuracy(pairs: Pairs) -> float | None:
    return metrics.accuracy(*_labels(pairs))


def _calibration_error(pairs: Pairs) -> float | None:
    sure = [(picture, said) for picture, said in pairs if said.confidence is not None]
    confidences = np.array([said.confidence for _, said in sure], dtype=float)
    return metrics.calibration_error(confidences, [p.expression is said.expression for p, said in sure])
