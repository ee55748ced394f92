"""Turns rows of the labels table into counts that add up, so that a table of any size can be streamed."""

from collections import Counter
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from expllm import tables
from expllm.errors import Outcome
from expllm.expressions import EXPRESSIONS
from expllm.facs import ACTION_UNITS, COLUMNS, EXPECTED_FROM, NAMED_FROM, ONE_SIDED_FROM

CONFIDENCE_BINS = 20
_COUNTED = ("outcome", "reject_reason", "expression", "model_id", "prompt_id", "run_id", "detector")
COLUMNS_READ = (
    *_COUNTED, "face_index", "confidence", "label_only_agrees", "au_precision", "au_recall",
    "prompt_tokens", "generated_tokens", "action_units", "observations",
)  # fmt: skip
"""The columns of the labels table that the counts need: no URI and no text."""

_UNITS = tuple(ACTION_UNITS)


@dataclass(frozen=True)
class Tally:
    """What the report says about a whole table. Tallies of parts add up to the tally of the whole."""

    photographs: int
    faces: int
    counts: Counter[tuple[str, str]]
    """(column, value) -> rows, for the columns that hold a few distinct values."""
    confidence: Int[np.ndarray, "bins"]
    """Labelled faces by confidence, in CONFIDENCE_BINS equal bins of 0..1."""
    confidence_by_expression: Float[np.ndarray, "8"]
    """Sums, in the order of EXPRESSIONS."""
    sums: Counter[str]
    """Column -> sum over the rows that hold a value; an agreement counts 1."""
    known: Counter[str]
    """Column -> rows that hold a value."""
    naming: Int[np.ndarray, "units 3"]
    """For each action unit: named and measured, named but not measured, measured but not named."""
    intensity: Float[np.ndarray, "8 units"]
    """Sums of intensities by expression."""
    measured: Int[np.ndarray, "8 units"]
    """Faces whose intensity is known, by expression."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(add(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))

    def values(self, column: str) -> list[tuple[str, int]]:
        """The values of a counted column with their rows, the most frequent first."""
        found = [(value, rows) for (name, value), rows in self.counts.items() if name == column]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def mean(self, column: str) -> float | None:
        """The mean of a column over the rows that hold a value; None where none does."""
        return self.sums[column] / self.known[column] if self.known[column] else None


def tally(labels: pa.Table) -> Tally:
    """Count the rows of a labels table; columns outside COLUMNS_READ need not be there. May be empty."""
    parts = [_tally(batch) for batch in labels.to_batches() if batch.num_rows]
    return reduce(add, parts) if parts else _tally(pa.RecordBatch.from_pylist([], schema=tables.LABELS))


def _tally(rows: pa.RecordBatch) -> Tally:
    labelled = rows.filter(pc.equal(rows["outcome"], str(Outcome.LABELLED)))
    intensities = unit_intensities(labelled["action_units"])
    is_named = named_units(labelled["observations"])
    expression = _one_hot(labelled["expression"])
    confidence = _floats(labelled["confidence"])
    sums, known = _sums(labelled)
    return Tally(
        # The first face of a photograph, or its only row, stands for the photograph.
        photographs=int(np.count_nonzero(np.nan_to_num(_floats(rows["face_index"])) == 0)),
        faces=rows.num_rows - rows["face_index"].null_count,
        counts=_counts(rows),
        confidence=np.histogram(confidence[~np.isnan(confidence)], CONFIDENCE_BINS, (0, 1))[0],
        confidence_by_expression=expression.T @ np.nan_to_num(confidence),
        sums=sums,
        known=known,
        naming=_naming(is_named, intensities),
        intensity=expression.T @ np.nan_to_num(intensities),
        measured=expression.T.astype(int) @ ~np.isnan(intensities),
    )


def unit_intensities(action_units: pa.StructArray) -> Float[np.ndarray, "rows units"]:
    """Each unit's intensity as `facs.movements` reads it; NaN where it cannot be measured."""
    by_column = {column: _floats(pc.struct_field(action_units, column)) for column in COLUMNS}
    return np.stack([_unit(number, by_column) for number in _UNITS], axis=1)


def _unit(number: int, by_column: dict[str, Float[np.ndarray, "rows"]]) -> Float[np.ndarray, "rows"]:
    unit = ACTION_UNITS[number]
    left, right = by_column.get(f"{unit.column}_left"), by_column.get(f"{unit.column}_right")
    if left is None or right is None:
        return by_column[unit.column]
    is_even = np.abs(left - right) < ONE_SIDED_FROM
    sided = np.where(is_even, (left + right) / 2, np.maximum(left, right))
    return np.where(np.isnan(sided), by_column.get(unit.column, sided), sided)


def named_units(observations: pa.ListArray) -> Bool[np.ndarray, "rows units"]:
    """Whether each row's text names each unit, on whichever side."""
    is_named = np.zeros((len(observations), len(_UNITS)), bool)
    numbers = pc.struct_field(pc.list_flatten(observations), "au").to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(observations).to_numpy(zero_copy_only=False)
    is_known = np.isin(numbers, _UNITS)
    is_named[rows[is_known], np.searchsorted(_UNITS, numbers[is_known])] = True
    return is_named


def _naming(
    is_named: Bool[np.ndarray, "rows units"], intensities: Float[np.ndarray, "rows units"]
) -> Int[np.ndarray, "units 3"]:
    right = is_named & (intensities >= NAMED_FROM)
    unsupported = is_named & (intensities < NAMED_FROM)
    missed = ~is_named & (intensities >= EXPECTED_FROM)
    return np.stack([cells.sum(axis=0) for cells in (right, unsupported, missed)], axis=1)


def _counts(rows: pa.RecordBatch) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for column in _COUNTED:
        for found in pc.value_counts(rows[column]).to_pylist():
            if found["values"] is not None:
                counts[column, found["values"]] += found["counts"]
    return counts


def _sums(labelled: pa.RecordBatch) -> tuple[Counter[str], Counter[str]]:
    sums: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for column in (
        "confidence", "label_only_agrees", "au_precision", "au_recall", "prompt_tokens", "generated_tokens"
    ):  # fmt: skip
        values = _floats(labelled[column])
        sums[column] = float(np.nansum(values))  # type: ignore[assignment]
        known[column] = int(np.count_nonzero(~np.isnan(values)))
    return sums, known


def _one_hot(expressions: pa.StringArray) -> Float[np.ndarray, "rows 8"]:
    places = pc.index_in(expressions, pa.array([str(expression) for expression in EXPRESSIONS]))
    return np.asarray(_floats(places)[:, None] == np.arange(len(EXPRESSIONS)), np.float64)


def _floats(values: pa.Array) -> Float[np.ndarray, "rows"]:
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
