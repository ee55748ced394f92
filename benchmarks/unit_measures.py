"""Measured action units against true ones: errors of each, by strength, and where both come from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from expllm.facs import COLUMNS, EXPECTED_FROM, NAMED_FROM

Units = Float32[np.ndarray, "faces units"]

BANDS = {"none": (0, NAMED_FROM), "faint": (NAMED_FROM, 0.2), "slight": (0.2, 0.4), "clear": (0.4, 0.65)}
BANDS |= {"strong": (0.65, math.inf)}
"""True intensities that errors are told apart by; those of facs.Strength, and none."""


@dataclass(frozen=True)
class UnitError:
    """How well one column is read."""

    column: str
    shown_rate: float
    """Share of faces whose true intensity is at least EXPECTED_FROM."""
    f1: Mapping[str, float]
    """Of finding intensities of at least EXPECTED_FROM, by where they are read; NaN where no face has one."""
    error: float
    """Mean absolute error of the joined intensities, over all faces."""
    error_by_band: tuple[float, ...]
    """The same by the true intensity, in the order of BANDS; NaN where no face has it."""


def measure(read: Mapping[str, Units], truth: Units) -> list[UnitError]:
    """Compare what was read with the truth, column by column; the last way of reading is the joined one."""
    return [
        _unit_error(column, {name: units[:, place] for name, units in read.items()}, truth[:, place])
        for place, column in enumerate(COLUMNS)
    ]


def _unit_error(column: str, read: Mapping[str, np.ndarray], truth: np.ndarray) -> UnitError:
    *_, joined = read.values()
    errors = np.abs(joined - truth)
    return UnitError(
        column,
        shown_rate=float((truth >= EXPECTED_FROM).mean()),
        f1={name: f1(found, truth) for name, found in read.items()},
        error=_mean(errors),
        error_by_band=tuple(_mean(errors[(low <= truth) & (truth < high)]) for low, high in BANDS.values()),
    )


def f1(found: np.ndarray, truth: np.ndarray) -> float:
    """F1 of finding intensities of at least EXPECTED_FROM among those that were measured."""
    known = ~(np.isnan(found) | np.isnan(truth))
    shown, named = truth[known] >= EXPECTED_FROM, found[known] >= EXPECTED_FROM
    return float(2 * (shown & named).sum() / (shown.sum() + named.sum())) if shown.any() else math.nan


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def table(errors: Sequence[UnitError]) -> str:
    """The errors as a Markdown table; the last row is the mean over the columns."""
    ways = list(errors[0].f1)
    head = ["column", "shown", *(f"F1, {way}" for way in ways), "error", *BANDS]
    rows = [[f"{e.shown_rate:.3f}", *map(_cell, (*e.f1.values(), e.error, *e.error_by_band))] for e in errors]
    figures = np.array([[*e.f1.values(), e.error, *e.error_by_band] for e in errors])
    mean = ["**mean**", "", *map(_cell, map(_mean, figures.T))]
    lines = [
        head,
        ["---"] * len(head),
        *([e.column, *row] for e, row in zip(errors, rows, strict=True)),
        mean,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
