"""Figures of a few faces into the range in which those of many would lie: seeded resampling of people.

Faces of one person resemble each other, so people are drawn, with all their faces, and not faces.

Source:
    Efron and Tibshirani, An introduction to the bootstrap (1993), chapters 13 and 8.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from expllm.evaluation.figures import FIGURES, Columns

_LOW, _HIGH = 2.5, 97.5
"""Percentiles that bound 95 % of the resamples."""


@dataclass(frozen=True)
class Figure:
    """A figure, the 95 % interval it lies in, and how many faces it is of."""

    value: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Resampling:
    """How often resamples are drawn, and from which seed."""

    rounds: int = 1000
    seed: int = 0

    def draws(self, people: Sequence[Hashable]) -> Iterator[Int[np.ndarray, " drawn"]]:
        """Draw as many people as there are, with replacement: the places of all their faces.

        Args:
            people: Who each face belongs to. No faces give empty draws.
        """
        faces: dict[Hashable, list[int]] = {}
        for place, person in enumerate(people):
            faces.setdefault(person, []).append(place)
        groups = [np.array(places) for places in faces.values()]
        rng = np.random.default_rng(self.seed)
        for _ in range(self.rounds):
            drawn = [groups[i] for i in rng.integers(len(groups), size=len(groups))] if groups else []
            yield np.concatenate([np.zeros(0, np.int64), *drawn])


def interval(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """The middle 95 % of what is known; none where nothing is."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    low, high = np.percentile(known, [_LOW, _HIGH])
    return float(low), float(high)


def estimates(
    columns: Columns, people: Sequence[Hashable], resampling: Resampling, names: Iterable[str] = FIGURES
) -> dict[str, Figure]:
    """Each figure of the columns with its interval."""
    wanted = {name: FIGURES[name] for name in names}
    drawn = [_all(wanted, columns.take(places)) for places in resampling.draws(people)]
    return {
        name: Figure(figure(columns), *interval(one[name] for one in drawn), _count(columns, name))
        for name, figure in wanted.items()
    }


def difference(
    ours: Columns, theirs: Columns, people: Sequence[Hashable], resampling: Resampling, name: str
) -> Figure:
    """By how much one model's figure exceeds another's on the same faces: both are resampled together."""
    figure = FIGURES[name]

    def exceeds(places: Int[np.ndarray, " drawn"] | None) -> float | None:
        both = (ours, theirs) if places is None else (ours.take(places), theirs.take(places))
        mine, other = (figure(one) for one in both)
        return None if mine is None or other is None else mine - other

    bounds = interval(exceeds(places) for places in resampling.draws(people))
    return Figure(exceeds(None), *bounds, len(ours.true))


def share(values: Sequence[float | None], people: Sequence[Hashable], resampling: Resampling) -> Figure:
    """The mean of what is known, with its interval; `count` is how many are known."""
    known = [(value, person) for value, person in zip(values, people, strict=True) if value is not None]
    if not known:
        return Figure(None, None, None, 0)
    numbers = np.array([float(value) for value, _ in known])
    means = (float(numbers[places].mean()) for places in resampling.draws([person for _, person in known]))
    return Figure(float(numbers.mean()), *interval(means), len(known))


def _count(columns: Columns, name: str) -> int:
    values = columns.values.get(name)
    return len(columns.true) if values is None else int(np.count_nonzero(~np.isnan(values)))


def _all(
    wanted: Mapping[str, Callable[[Columns], float | None]], columns: Columns
) -> dict[str, float | None]:
    return {name: figure(columns) for name, figure in wanted.items()}
