"""A text and the movements of the face into figures of how well the one tells the other."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from expllm import cot
from expllm.cot import Observation
from expllm.expressions import Expression
from expllm.facs import Intensities, Side, associated


@dataclass(frozen=True)
class Naming:
    """How well one text names the movements of one face, 0..1; None where there is nothing to count."""

    precision: float | None = None
    """Share of the named movements that are there."""
    recall: float | None = None
    """Share of the movements a text must name that it names."""
    strength_within_a_band: float | None = None
    """Share of the named movements that are there whose strength is at most one band off."""


def naming(key_observations: str | None, intensities: Intensities | None) -> Naming:
    """Compare a text with the movements of the face; nothing is counted where either is not known."""
    if key_observations is None or intensities is None:
        return Naming()
    named = cot.observations(key_observations)
    agreement = cot.agreement(named, intensities)
    return Naming(agreement.precision, agreement.recall, cot.strength_agreement(named, intensities))


def names(key_observations: str | None, number: int) -> bool:
    """Whether a text names an action unit, on whichever side; no text names none."""
    return any(o.number == number for o in cot.observations(key_observations or ""))


def associations_correct(named: Iterable[Observation]) -> float | None:
    """Share of the associations a text gives that stand in facs' table; None where it gives none."""
    given = [(o, expression) for o in named for expression in o.associated]
    if not given:
        return None
    return sum(expression in _table(o) for o, expression in given) / len(given)


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _table(observation: Observation) -> tuple[Expression, ...]:
    # Which side it is does not matter to the table, only that it is one.
    return associated(observation.number, observation.side or Side.LEFT)
