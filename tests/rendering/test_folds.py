import numpy as np
import pytest

from expllm.facs import COLUMNS
from expllm.rendering import folds
from expllm.rendering.front import SIZE_PX

AT_REST = dict.fromkeys(COLUMNS, 0.0)
FOLDING = ("au01", "au02", "au04", "au06", "au07", "au09", "au10", "au15", "au17", "au20")


def darkness(**moved):
    return folds.press(AT_REST | moved, {}, depth=1.0, pattern=0)[..., 0]


def test_smooth_skin_at_rest_has_no_folds():
    assert not folds.press(AT_REST, {}, depth=1.3, pattern=2).any()


@pytest.mark.parametrize("column", FOLDING)
def test_a_movement_folds_the_skin(column):
    assert darkness(**{column: 1.0}).max() > 0.1


@pytest.mark.parametrize("column", FOLDING)
def test_a_fold_deepens_with_its_movement(column):
    assert darkness(**{column: 0.9}).sum() > 1.5 * darkness(**{column: 0.4}).sum()


@pytest.mark.parametrize(
    ("column", "half"), [("au12_left", slice(140, SIZE_PX)), ("au14_right", slice(0, 116))]
)
def test_a_movement_of_one_side_folds_that_side_alone(column, half):
    dark = darkness(**{column: 1.0})
    assert dark[:, half].sum() == pytest.approx(dark.sum())
    assert dark.max() > 0.15


def test_lasting_folds_stay_at_rest():
    assert folds.press(AT_REST, {"au01": 0.4}, depth=1.0, pattern=0)[..., 0].max() > 0.05


def test_skins_fold_along_lines_of_their_own():
    one, other = (folds.press(AT_REST | {"au01": 1.0}, {}, depth=1.0, pattern=p) for p in (0, 1))
    assert np.abs(one - other).max() > 0.1


def test_frown_lines_lie_between_the_brows():
    rows, columns = np.nonzero(darkness(au04=1.0) > 0.1)
    assert np.all(np.abs(columns - SIZE_PX / 2) < 30)
    assert np.all((rows > 70) & (rows < 125))
