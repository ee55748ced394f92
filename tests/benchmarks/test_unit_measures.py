import math

import numpy as np
import pytest

from benchmarks.unit_measures import BANDS, f1, measure, table
from expllm.facs import COLUMNS

SMILE = COLUMNS.index("au12")


def units(*smiles: float) -> np.ndarray:
    faces = np.zeros((len(smiles), len(COLUMNS)), np.float32)
    faces[:, SMILE] = smiles
    return faces


def test_f1_counts_what_must_be_named() -> None:
    truth, found = np.array([0.3, 0.2, 0.1, 0.0]), np.array([0.5, 0.1, 0.2, 0.0])
    assert f1(found, truth) == pytest.approx(0.5)


def test_what_was_not_measured_does_not_count() -> None:
    assert f1(np.array([0.5, np.nan]), np.array([0.5, 0.5])) == 1.0


def test_a_movement_that_no_face_makes_has_no_f1() -> None:
    assert math.isnan(f1(np.array([0.5]), np.array([0.0])))


def test_errors_are_told_apart_by_true_strength() -> None:
    smile = measure({"both": units(0.1, 0.25, 0.5)}, units(0.0, 0.15, 0.9))[SMILE]
    by_band = dict(zip(BANDS, smile.error_by_band, strict=True))
    assert by_band["none"] == pytest.approx(0.1)
    assert by_band["faint"] == pytest.approx(0.1)
    assert by_band["strong"] == pytest.approx(0.4)
    assert math.isnan(by_band["clear"])
    assert smile.error == pytest.approx(0.2)


def test_errors_are_those_of_the_joined_reading() -> None:
    smile = measure({"landmarks": units(0.9), "both": units(0.4)}, units(0.5))[SMILE]
    assert smile.error == pytest.approx(0.1)
    assert list(smile.f1) == ["landmarks", "both"]


def test_the_table_has_a_row_for_every_column_and_their_mean() -> None:
    page = table(measure({"landmarks": units(0.9, 0), "both": units(0.4, 0)}, units(0.5, 0)))
    assert all(page.count(f"| {column} |") == 1 for column in COLUMNS)
    assert page.splitlines()[-1].startswith("| **mean** |")
    assert "nan" not in page
