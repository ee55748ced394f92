import base64
import html
import random
import re
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from expllm import cot, report, tables, writer
from expllm.errors import Reject
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import ACTION_UNITS, COLUMNS, EXPECTED_FROM, movements
from expllm.photographs import Photograph
from expllm.report import gallery, page
from expllm.report.face_drawing import draw
from expllm.report.tally import COLUMNS_READ, unit_intensities
from expllm.report.thumbnails import SIDE_PX, thumbnail

PROTOTYPES: dict[Expression, tuple[str, ...]] = {
    Expression.NEUTRAL: (),
    Expression.HAPPINESS: ("au06", "au12", "au12_left", "au12_right", "au25"),
    Expression.SADNESS: ("au01", "au04", "au15", "au17"),
    Expression.SURPRISE: ("au01", "au02", "au05", "au26"),
    Expression.FEAR: ("au01", "au02", "au04", "au05", "au20", "au25"),
    Expression.DISGUST: ("au09", "au10", "au17"),
    Expression.ANGER: ("au04", "au05", "au07", "au23"),
    Expression.CONTEMPT: ("au12", "au12_left", "au14_left"),
}


def labelled_row(number: int = 0, **changed: Any) -> dict[str, Any]:
    """One face, as a run writes it: everything follows from its number."""
    rng = random.Random(number)
    expression = EXPRESSIONS[number % 8]
    intensities = {column: rng.uniform(0, 0.09) for column in COLUMNS}
    intensities |= {column: rng.uniform(0.3, 0.95) for column in PROTOTYPES[expression]}
    if "au12_right" in PROTOTYPES[expression]:
        intensities["au12_left"] = intensities["au12_right"] = intensities["au12"]
    chain = writer.write(intensities, expression, rng)
    confidence = rng.uniform(0.5, 0.97)
    dominant, secondary = cot.weighed(chain.interpretation)
    named = cot.observations(chain.key_observations)
    agreement = cot.agreement(named, intensities)
    return {
        "photo_uri": f"s3://faces/album/{number // 2:04d}.jpg",
        "photo_id": f"{number // 2:064x}",
        "photo_etag": "e",
        "face_index": number % 2,
        "face_id": f"{number}",
        "box_px": [100.0 + 300 * (number % 2), 80.0, 300.0 + 300 * (number % 2), 300.0],
        "yaw_deg": rng.uniform(-20, 20),
        "pitch_deg": rng.uniform(-10, 10),
        "roll_deg": rng.uniform(-8, 8),
        "detector": "mediapipe",
        "action_units": intensities,
        "key_observations": chain.key_observations,
        "interpretation": chain.interpretation,
        "conclusion": chain.conclusion,
        "observations": [
            {"au": o.number, "side": o.side, "strength": o.strength, "associated": list(o.associated)}
            for o in named
        ],
        "dominant": dominant,
        "secondary": secondary,
        "expression": str(expression),
        "confidence": confidence,
        "expression_scores": {
            e: confidence if e is expression else (1 - confidence) / 7 for e in EXPRESSIONS
        },
        "label_only_agrees": number % 9 != 4,
        "au_precision": agreement.precision,
        "au_recall": agreement.recall,
        "outcome": "labelled",
        "attempts": 1,
        "prompt_tokens": 90,
        "generated_tokens": 80 + number % 30,
        "model_id": "m" * 12,
        "prompt_id": "p" * 12,
        "run_id": "20260101-000000",
        "labelled_at": datetime(2026, 1, 1, tzinfo=UTC),
        **changed,
    }


def unlabelled_row(uri: str, outcome: str, reason: str | None = None) -> dict[str, Any]:
    return {"photo_uri": uri, "outcome": outcome, "reject_reason": reason, "run_id": "20260101-000000"}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=tables.LABELS)


def page_of(*rows: dict[str, Any], **options: Any) -> str:
    labels = table(*rows)
    faces = [row for row in labels.to_pylist() if row["outcome"] == "labelled"]
    return report.render(report.tally(labels), faces, options.pop("runs", []), title="album", **options)


MIXED = (
    labelled_row(0),
    labelled_row(1),
    labelled_row(2),
    unlabelled_row("s3://faces/album/wall.jpg", "no_face"),
    unlabelled_row("s3://faces/album/torn.jpg", "rejected", Reject.TRUNCATED),
)


def test_photographs_are_counted_once_however_many_faces_they_have() -> None:
    tally = report.tally(table(*MIXED))
    assert (tally.photographs, tally.faces) == (4, 3)


def test_every_outcome_is_counted() -> None:
    assert dict(report.tally(table(*MIXED)).values("outcome")) == {"labelled": 3, "no_face": 1, "rejected": 1}


def test_an_empty_table_counts_nothing_and_still_has_a_page() -> None:
    assert report.tally(table()).photographs == 0
    assert "No face is labelled yet" in page_of()


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(0, 12))
def test_tallies_of_parts_add_up_to_the_tally_of_the_whole(num_rows: int, cut: int) -> None:
    labels = table(*(labelled_row(number) for number in range(num_rows)))
    parts = report.tally(labels.slice(0, cut)) + report.tally(labels.slice(cut))
    whole = report.tally(labels)
    assert parts.counts == whole.counts and parts.known == whole.known
    assert np.array_equal(parts.naming, whole.naming) and np.allclose(parts.intensity, whole.intensity)


def test_the_columns_read_are_enough_for_the_counts() -> None:
    labels = table(*MIXED)
    assert report.tally(labels.select(COLUMNS_READ)).counts == report.tally(labels).counts


@given(st.dictionaries(st.sampled_from(COLUMNS), st.floats(0, 1, width=32)))
def test_units_have_the_intensities_that_the_core_reads(known: dict[str, float]) -> None:
    stored = pa.array([{column: known.get(column) for column in COLUMNS}], tables.ACTION_UNITS)
    there = {movement.number: movement.intensity for movement in movements(known, at_least=0)}
    found = dict(zip(ACTION_UNITS, unit_intensities(stored)[0], strict=True))
    assert {number for number, value in found.items() if not np.isnan(value)} == set(there)
    assert all(found[number] == pytest.approx(value) for number, value in there.items())


def test_a_name_counts_as_wrong_only_where_the_movement_was_measured_and_is_absent() -> None:
    named = [{"au": 9, "side": "both", "strength": "clear", "associated": []}]
    absent = labelled_row(0, action_units=dict.fromkeys(COLUMNS, 0.0), observations=named)
    unknown = labelled_row(0, action_units=dict.fromkeys(COLUMNS, None), observations=named)
    place = list(ACTION_UNITS).index(9)
    assert report.tally(table(absent)).naming[place].tolist() == [0, 1, 0]
    assert report.tally(table(unknown)).naming[place].tolist() == [0, 0, 0]


def card(**changed: Any) -> gallery.Card:
    (only,) = gallery.cards(table(labelled_row(1, **changed)).to_pylist(), {})
    return only


def test_a_clear_movement_that_the_text_leaves_out_is_marked() -> None:
    bars = {bar.number: bar for bar in card(observations=[]).bars}
    assert bars[12].mark == "missed" and bars[12].intensity >= EXPECTED_FROM


def test_a_named_movement_on_the_wrong_side_is_unsupported() -> None:
    named = [{"au": 12, "side": "right", "strength": "clear", "associated": []}]
    one_sided = {"au12": 0.3, "au12_left": 0.6, "au12_right": 0.0}
    assert card(observations=named, action_units=one_sided).unsupported == ("right lip corner puller",)


def test_bars_fall_in_strength_and_leave_out_what_is_not_there() -> None:
    strengths = [bar.intensity for bar in card().bars]
    assert strengths == sorted(strengths, reverse=True) and min(strengths) >= 0.1


@given(st.text())
def test_no_text_of_a_section_is_lost_when_words_are_set_off(text: str) -> None:
    sections = card(key_observations=text).sections
    assert "".join(piece.text for piece in sections[0][1]) == text


def test_cards_stand_in_the_order_of_photograph_and_face() -> None:
    rows = table(*(labelled_row(number) for number in (3, 0, 2, 1))).to_pylist()
    assert [(c.uri[-8:], c.face_index) for c in gallery.cards(rows, {})] == [
        ("0000.jpg", 0), ("0000.jpg", 1), ("0001.jpg", 0), ("0001.jpg", 1),
    ]  # fmt: skip


def test_a_label_without_scores_is_shown_without_confidence() -> None:
    row = labelled_row(1, confidence=None, expression_scores=None, label_only_agrees=None, action_units=None)
    assert "<span>–</span></h3>" in page_of(row)


@given(st.dictionaries(st.sampled_from(COLUMNS), st.none() | st.floats(0, 1)))
def test_any_face_can_be_drawn_inside_its_frame(intensities: dict[str, float | None]) -> None:
    strokes = draw(intensities)
    absolute = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", " ".join(stroke.path for stroke in strokes))
    assert all(0 <= float(x) <= 120 and 0 <= float(y) <= 148 for x, y in absolute)


def test_a_face_at_rest_moves_nothing_in_its_drawing() -> None:
    assert not any(stroke.is_moved and stroke.opacity > 0 for stroke in draw({}))


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.mark.parametrize("column", "photo_uri key_observations interpretation conclusion run_id".split())
def test_whatever_a_row_says_stays_text(column: str) -> None:
    written = page_of(labelled_row(1, **{column: HOSTILE}))
    assert "<script" not in written and "<img" not in written and html.escape("<script>") in written


def test_whatever_runs_and_cards_say_stays_text() -> None:
    runs = [report.Run(HOSTILE, {HOSTILE: {HOSTILE: HOSTILE}})]
    written = page_of(labelled_row(), runs=runs, model_card={HOSTILE: HOSTILE}, thumbnails={})
    assert "<script" not in written and "<img" not in written


def test_the_page_loads_nothing() -> None:
    written = page_of(*MIXED)
    assert all(link.startswith("#") for link in re.findall(r'(?:src|href|action)="([^"]*)"', written))
    assert "url(" not in written and "@import" not in written and "default-src 'none'" in written


def test_equal_input_gives_an_equal_page() -> None:
    assert page_of(*MIXED) == page_of(*reversed(MIXED))


def test_the_page_says_why_photographs_were_left_out() -> None:
    assert page.REASONS[Reject.TRUNCATED] in page_of(*MIXED)


@pytest.mark.parametrize("reason", Reject)
def test_every_reason_has_its_words(reason: Reject) -> None:
    assert reason in page.REASONS


def test_the_page_names_the_law_and_the_limits() -> None:
    written = page_of(*MIXED)
    assert "Article 5(1)(f)" in written and "not what a person feels" in written
    assert "trained on rendered faces" in written


def test_speed_comes_from_the_last_run_that_measured_it() -> None:
    metrics = {"faces_per_s": 3.5, "generated_tokens": 820, "elapsed_s": 2.0}
    runs = [report.Run("a", {"metrics": metrics}), report.Run("b", {"config": {"model": "m"}})]
    written = page_of(labelled_row(), runs=runs)
    assert "3.50 <small>faces/s" in written and "410 written tokens/s" in written


def test_facts_name_their_path_and_leave_out_nulls() -> None:
    card = {"training": {"faces": 60000, "hint_rate": 0.5}, "commit": None, "parts": ["a"], "merged": True}
    assert page.facts(card) == [
        ("training · faces", "60000"), ("training · hint rate", "0.5"), ("parts", "a"), ("merged", "yes"),
    ]  # fmt: skip


def test_without_thumbnails_the_page_holds_no_picture() -> None:
    assert "data:image" not in page_of(*MIXED) and "no pixels" in page_of(*MIXED)


def test_a_thumbnail_stands_on_the_card_of_its_own_face() -> None:
    place = ("s3://faces/album/0000.jpg", 1)
    written = page_of(labelled_row(0), labelled_row(1), thumbnails={place: "data:image/jpeg;base64,AA"})
    assert written.count('src="data:image/jpeg;base64,AA"') == 1


def decoded(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


@given(
    st.tuples(*[st.floats(-50, 450) for _ in range(4)]),
    st.integers(16, 400),
    st.integers(16, 400),
    st.sampled_from((1, 2, 5)),
)
@example((0.0, 0.0, 61.0, 2.0), 25, 25, 5)
def test_any_box_gives_a_square_picture_without_metadata(
    edges: tuple[float, float, float, float], width: int, height: int, full_size: int
) -> None:
    pixels = np.full((height, width, 3), 127, np.uint8)
    photograph = Photograph(pixels, width * full_size, height * full_size)
    picture = decoded(thumbnail(photograph, edges))
    assert picture.size == (SIDE_PX, SIDE_PX) and not picture.getexif() and "comment" not in picture.info


def test_the_box_is_drawn_where_the_face_is() -> None:
    photograph = Photograph(np.full((400, 600, 3), 127, np.uint8), 1200, 800)
    picture = np.asarray(decoded(thumbnail(photograph, (500, 300, 700, 500))).convert("L")).astype(int)
    ink = np.abs(picture - 127) > 60
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert np.allclose([columns[0], rows[0], columns[-1], rows[-1]], [60, 60, 180, 180], atol=3)
