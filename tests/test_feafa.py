import pytest

from expllm import facs
from expllm.errors import CallerError
from expllm.facs import Side
from expllm.feafa import ARKIT_TO_FACS, FEAFA_SIZE, FEAFA_TO_FACS, from_arkit, from_feafa


def feafa(**values):
    return [values.get(f"i{index}", 0.0) for index in range(FEAFA_SIZE)]


def test_every_column_is_given_and_none_where_feafa_has_nothing():
    columns = from_feafa(feafa())
    assert tuple(columns) == facs.COLUMNS
    assert {c for c, value in columns.items() if value is None} == set(facs.COLUMNS) - set(FEAFA_TO_FACS)


@pytest.mark.parametrize(
    ("index", "column"), [(8, "au26"), (18, "au10"), (19, "au16"), (20, "au17"), (21, "au18"), (23, "au09")]
)
def test_a_feafa_intensity_lands_in_its_facs_column(index, column):
    assert from_feafa(feafa(**{f"i{index}": 0.7}))[column] == pytest.approx(0.7)


def test_a_raised_brow_is_raised_inside_and_outside():
    columns = from_feafa(feafa(i6=0.4, i7=0.6))
    assert (columns["au01"], columns["au02"]) == (0.5, 0.5)


def test_a_one_sided_smile_stays_one_sided():
    (movement,) = facs.movements(from_feafa(feafa(i11=0.1, i12=0.8)))
    assert (movement.number, movement.side, movement.intensity) == (12, Side.RIGHT, 0.8)


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(CallerError):
        from_feafa([0.0] * 17)


def test_arkit_units_land_in_their_facs_columns():
    columns = from_arkit({unit: 0.5 for units in ARKIT_TO_FACS.values() for unit in units})
    assert {c for c, value in columns.items() if value == 0.5} == set(ARKIT_TO_FACS)


def test_a_column_without_its_arkit_units_cannot_be_measured():
    columns = from_arkit({"jawOpen": 0.3, "mouthSmileLeft": 0.9})
    assert columns["au26"] == 0.3
    assert columns["au12_left"] == 0.9
    assert columns["au12"] is None
