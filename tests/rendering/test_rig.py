import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.facs import COLUMNS
from expllm.rendering import head, rig
from expllm.rendering.rig import action_units, weights

UNITS_OF_THEIR_OWN = [column for column in COLUMNS if column not in {"au12", "au25", "au26", "au27"}]
INTENSITIES = st.floats(0, 1)


def test_a_face_at_rest_has_no_movement():
    assert weights({}) == {}
    assert set(action_units({}, 0.0).values()) == {0.0}


def test_a_column_without_a_value_is_at_rest():
    assert weights(dict.fromkeys(COLUMNS)) == {}


def test_the_truth_has_every_column_in_the_tables_order():
    assert tuple(action_units({}, 0.0)) == COLUMNS


@pytest.mark.parametrize("column", UNITS_OF_THEIR_OWN)
def test_a_single_movement_is_found_again(column):
    found = action_units(weights({column: 0.6}), 0.0)
    assert {name for name, value in found.items() if value > 1e-6} - {"au12"} == {column}
    assert found[column] == pytest.approx(0.6)


@given(INTENSITIES, INTENSITIES)
def test_jaw_drop_and_mouth_stretch_exclude_each_other(dropped, stretched):
    found = action_units(weights({"au26": dropped, "au27": stretched}), 0.0)
    assert found["au26"] == 0 or found["au27"] == 0


@pytest.mark.parametrize(("jaw", "column"), [(0.2, "au26"), (0.45, "au26"), (0.6, "au27"), (1.0, "au27")])
def test_a_small_opening_is_a_dropped_jaw_and_a_large_one_a_stretched_mouth(jaw, column):
    found = action_units({"jawOpen": jaw}, 0.0)
    assert [name for name in ("au26", "au27") if found[name] > 0] == [column]


@given(st.fixed_dictionaries({column: INTENSITIES for column in COLUMNS}), st.floats(-0.2, 0.6))
def test_the_truth_stays_between_0_and_1(intensities, gap):
    assert all(0 <= value <= 1 for value in action_units(weights(intensities, 0.05), gap).values())


@given(INTENSITIES, INTENSITIES)
def test_cheek_raiser_and_lid_tightener_are_told_apart(cheek, lid):
    found = action_units(weights({"au06": cheek, "au07": lid}), 0.0)
    assert found["au06"] == pytest.approx(cheek)
    assert found["au07"] <= lid + 1e-6


def test_lips_part_is_measured_and_not_taken_from_the_rig():
    asked = weights({"au25": 1.0})
    assert action_units(asked, 0.0)["au25"] == 0
    assert action_units(asked, 0.05)["au25"] > 0.4


def test_a_dropping_jaw_parts_the_lips():
    loaded = head.load()
    dropped = head.moved(loaded.vertices, loaded.movements, weights({"au26": 0.5}))
    assert rig.lip_gap(dropped) > rig.lip_gap(loaded.vertices) + 0.05


def test_a_smile_of_both_sides_moves_both_corners():
    asked = weights({"au12": 0.5})
    assert asked["mouthSmileLeft"] == asked["mouthSmileRight"] > 0


def test_a_side_of_its_own_takes_the_place_of_the_smile_of_both():
    assert "mouthSmileRight" not in weights({"au12": 0.5, "au12_left": 0.5, "au12_right": 0.0})


def test_an_asymmetric_face_moves_its_left_side_more():
    asked = weights({"au12": 0.5}, asymmetry=0.05)
    assert asked["mouthSmileLeft"] > asked["mouthSmileRight"]
