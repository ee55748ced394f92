"""All faces into some: by how strong an expression is (the benchmark "micro"), and by who shows it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from expllm.datasets import LabelledFace
from expllm.evaluation.bootstrap import Figure, Resampling, estimates
from expllm.evaluation.figures import Columns

PEAKS = (0.1, 0.2, 0.35, 0.6, 1.0)
"""Peak intensities of the benchmark "micro"; a face belongs to the nearest, a neutral one to none."""
_Value = TypeVar("_Value", float, str)
_FIGURES = ("accuracy", "balanced_accuracy", "au_precision", "au_recall")


@dataclass(frozen=True)
class Slice:
    """Some of the faces: a value of a property, and the figures of the faces that have it."""

    value: str
    faces: int
    figures: dict[str, Figure]


def micro(
    faces: Sequence[LabelledFace], columns: Columns, people: Sequence[Hashable], resampling: Resampling
) -> list[Slice]:
    """Figures by the peak intensity of the expression, faintest first; empty where no peaks are known."""
    return _slices([_nearest(face.peak) for face in faces], columns, people, resampling)


def subgroups(
    faces: Sequence[LabelledFace], columns: Columns, people: Sequence[Hashable], resampling: Resampling
) -> dict[str, list[Slice]]:
    """Figures by each property that the data tell of people, such as skin."""
    properties = sorted({name for face in faces for name in face.groups})
    return {
        name: _slices([face.groups.get(name) for face in faces], columns, people, resampling)
        for name in properties
    }


def _nearest(peak: float | None) -> float | None:
    return min(PEAKS, key=lambda one: abs(one - peak)) if peak else None


def _slices(
    values: Sequence[_Value | None], columns: Columns, people: Sequence[Hashable], resampling: Resampling
) -> list[Slice]:
    found = []
    for value in sorted({value for value in values if value is not None}):
        places = np.array([place for place, one in enumerate(values) if one == value])
        own = [people[place] for place in places]
        figures = estimates(columns.take(places), own, resampling, _FIGURES)
        found.append(Slice(f"{value:g}" if isinstance(value, float) else value, len(places), figures))
    return found
