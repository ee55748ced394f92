import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.datasets import fields
from expllm.datasets.vocabularies import AFFECTNET, FER2013, RAF_DB
from expllm.errors import Reject
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS

CELLS = st.one_of(st.none(), st.text(max_size=6), st.floats(), st.integers(), st.booleans())
NUMBERS = st.floats(-1e4, 1e4, allow_nan=False)


@pytest.mark.parametrize("label", ["3", "3.0", " 3 ", 3, 3.0])
def test_a_number_is_read_however_it_is_written(label):
    assert fields.numbered(label, AFFECTNET) is Expression.SURPRISE


@pytest.mark.parametrize("label", ["8", "9", "10", "-1", "1.5", "", "nan", "inf", "happy", None])
def test_a_number_outside_the_vocabulary_is_no_label(label):
    assert fields.numbered(label, AFFECTNET) is Reject.UNKNOWN_LABEL


@pytest.mark.parametrize(("numbering", "size"), [(RAF_DB, 7), (AFFECTNET, 8), (FER2013, 7)])
def test_every_number_means_another_expression(numbering, size):
    assert len(set(numbering.values())) == len(numbering) == size


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_words_are_read_in_any_case(expression):
    assert fields.worded(f" {expression.word} ") is fields.worded(expression.upper()) is expression


def test_no_word_is_no_expression_and_another_word_is_none_of_ours():
    assert fields.worded("") is fields.worded(None) is None
    assert fields.worded("bored") is Reject.UNKNOWN_LABEL


@given(NUMBERS, NUMBERS, st.floats(0.1, 100), st.floats(0.1, 100))
def test_a_box_is_the_same_by_corners_sides_and_text(left, top, width, height):
    box = (left, top, left + width, top + height)
    assert fields.sides((left, top, width, height)) == fields.corners(box) == box
    for separator in (" ", ",", ", ", ";"):
        assert fields.box_px(f"[{separator.join(map(repr, box))}]") == box


@given(st.lists(CELLS, max_size=6))
def test_what_is_no_box_is_a_reason_and_never_a_crash(cells):
    for box in (fields.corners(cells), fields.sides(cells), fields.box_px(cells)):
        assert box is Reject.MALFORMED_BOX or (box[0] < box[2] and box[1] < box[3])


@pytest.mark.parametrize("value", ["1 2 3", "1,2,0,4", "a b c d", "1 2 3 4 5", 7, {"left": 1}, "1 2 inf 4"])
def test_malformed_boxes(value):
    assert fields.box_px(value) is Reject.MALFORMED_BOX


@pytest.mark.parametrize("value", [None, "", " "])
def test_no_box_is_no_box(value):
    assert fields.box_px(value) is None


@given(st.dictionaries(st.sampled_from(COLUMNS), st.floats(0, 1), min_size=1))
def test_action_units_have_every_column(given_units):
    assert fields.action_units(given_units) == dict.fromkeys(COLUMNS) | given_units


@given(st.dictionaries(st.sampled_from(COLUMNS), CELLS))
def test_action_units_are_shares_or_a_reason(cells):
    units = fields.action_units(cells)
    if units is not Reject.MALFORMED_UNITS and units is not None:
        assert all(value is None or 0 <= value <= 1 for value in units.values())


def test_a_row_without_action_units_has_none():
    assert fields.action_units({"au01": "", "au02": None, "au04": float("nan")}) is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_00001", "train"),
        ("2007_val", "val"),
        ("val_class", "val"),
        ("FER2013Test", "test"),
        ("valid-sample-affectnet", "val"),
        ("train_test", None),
        ("trainer", None),
    ],
)
def test_a_name_tells_its_split_by_a_word_of_its_own(name, split):
    assert fields.split_in(name) == split


def test_the_first_reason_rejects_a_row_in_its_split():
    row = fields.assemble("val", expression=Reject.UNKNOWN_LABEL, photo=Reject.MISSING_FILE)
    assert (row.reason, row.split) == (Reject.UNKNOWN_LABEL, "val")
