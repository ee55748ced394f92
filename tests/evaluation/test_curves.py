"""Curves of a training: every metric it reported, from its first step to its last."""

import re
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from expllm.evaluation.curves import curves
from expllm.evaluation.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

ROW = st.fixed_dictionaries({"loss": st.floats(0, 1e6), "tokens_right": st.floats(0, 1)})


@given(st.lists(ROW, max_size=700))
def test_a_curve_stays_within_its_axes(rows: list[dict[str, float]]) -> None:
    numbered = [{"step": step, **row} for step, row in enumerate(rows, 1)]
    drawn = ElementTree.fromstring(curves(numbered))
    paths = [path.get("d") for path in drawn.iter() if path.get("class") == "curve"]
    assert len(paths) == (2 if rows else 0)
    for path in paths:
        places = [tuple(map(float, place.split())) for place in re.split("[ML]", path)[1:]]
        assert len(places) <= 200
        assert all(LEFT <= x <= WIDTH - RIGHT for x, _ in places)
        assert all(TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for _, y in places)


def test_the_last_step_is_told_in_numbers() -> None:
    assert "step 20: 0.25" in curves([{"step": 10, "loss": 2.0}, {"step": 20, "loss": 0.25}])
