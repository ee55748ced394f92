import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from expllm.facs import ACTION_UNITS, COLUMNS, movements
from expllm.rendering import pairs
from expllm.tables import PAIRS
from jobs.pairs import TABLE, main

SEEDS = (0, 9, 18, 27, 36, 45, 54, 63)
"""One pair of each expression."""


@pytest.fixture(scope="module")
def drawn():
    return [pairs.draw(seed, size_px=32) for seed in SEEDS]


def test_one_movement_is_there_in_one_picture_alone(drawn):
    for pair in drawn:
        absent, present = (
            {m.number: m.intensity for m in movements(one.truth.action_units, 0)}
            for one, _ in (pair.absent, pair.present)
        )
        assert present[pair.number] >= pairs.SHOWN_FROM
        assert absent[pair.number] < 0.05


def test_all_other_movements_are_as_strong_in_both(drawn):
    for pair in drawn:
        column = ACTION_UNITS[pair.number].column
        others = [c for c in COLUMNS if not c.startswith(column) and c != "au25"]
        absent, present = (one.truth.action_units for one, _ in (pair.absent, pair.present))
        assert max(abs(absent[c] - present[c]) for c in others) <= 0.1


def test_person_and_scene_are_the_same(drawn):
    for pair in drawn:
        absent, present = (one.truth for one, _ in (pair.absent, pair.present))
        assert (absent.yaw_deg, absent.pitch_deg) == (present.yaw_deg, present.pitch_deg)
        assert np.allclose(absent.box_px, present.box_px, atol=4)


def test_every_expression_takes_its_turn(drawn):
    assert len({prototype.expression for _, prototype in (pair.present for pair in drawn)}) == len(SEEDS)


def test_the_job_writes_both_pictures_and_a_row_for_each(tmp_path):
    main(out=tmp_path / "new", count=2, seed=8, size_px=32)
    table = pq.read_table(tmp_path / "new" / TABLE)
    assert table.schema.equals(PAIRS)
    assert table["pair"].to_pylist() == [0, 0, 1, 1]
    assert table["is_present"].to_pylist() == [False, True] * 2
    assert all(Image.open(tmp_path / "new" / file).size == (32, 32) for file in table["file"].to_pylist())
