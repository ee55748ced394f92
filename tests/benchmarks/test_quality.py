from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.measures import measure
from benchmarks.pictures import Picture
from benchmarks.quality import as_table, of_rows, share
from expllm.evaluation.answers import Said
from expllm.expressions import Expression

HAPPINESS, FEAR = Expression.HAPPINESS, Expression.FEAR
PICTURE = Picture(Path("/faces/a.jpg"), HAPPINESS, "1")
ROW = {
    "photo_uri": "/faces/a.jpg",
    "box_px": [0.0, 0.0, 9.0, 9.0],
    "outcome": "labelled",
    "reject_reason": None,
    "expression": "happiness",
    "confidence": 0.75,
    "key_observations": "clear lip corner puller (happiness).",
    "generated_tokens": 70,
}


def printed(results: dict) -> list[str]:
    console = Console(width=150)
    with console.capture() as capture:
        console.print(as_table("Pictures", results))
    return capture.get().splitlines()


@pytest.mark.parametrize(
    ("value", "text"), [(0.8954, ".895"), (1.0, "1.000"), (0.0, ".000"), (0.9999, "1.000"), (None, "–")]
)
def test_shares_are_short_and_no_information_is_a_dash(value: float | None, text: str) -> None:
    assert share(value) == text


def test_the_largest_face_of_a_picture_counts() -> None:
    small = ROW | {"box_px": [0.0, 0.0, 2.0, 2.0], "expression": "fear"}
    (said,) = of_rows([PICTURE], [small, ROW, small])
    assert said == Said(HAPPINESS, 0.75, ROW["key_observations"], parsed=True, generated_tokens=70)


@pytest.mark.parametrize(
    ("outcome", "reason", "parsed"),
    [("no_face", None, None), ("rejected", "corrupt", None), ("rejected", "text_malformed", False)],
)
def test_only_a_text_can_fail_to_parse(outcome: str, reason: str | None, parsed: bool | None) -> None:
    row = ROW | {"outcome": outcome, "reject_reason": reason, "box_px": None}
    (said,) = of_rows([PICTURE], [row])
    assert (said.expression, said.parsed) == (None, parsed)


def test_a_row_a_model_in_one_table() -> None:
    fear = replace(PICTURE, expression=FEAR)
    quality = measure([(PICTURE, Said(HAPPINESS, 0.9)), (fear, Said(HAPPINESS, 0.9))])
    lines = printed({"ours": quality, "fer: get [bench]": None})
    assert "2 faces" in lines[0]
    assert any("ours" in line and ".500" in line and ".000 fear" in line for line in lines)
    (absent,) = (line for line in lines if "fer: get [bench]" in line)
    assert absent.count("–") == 12
