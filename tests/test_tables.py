from pathlib import Path

import pyarrow as pa

from expllm import tables

PUBLISHED = (
    "photo_uri photo_id photo_etag face_index face_id box_px detection_score yaw_deg pitch_deg roll_deg "
    "detector detector_scores action_units key_observations interpretation conclusion observations "
    "dominant secondary expression confidence expression_scores label_only_agrees au_precision au_recall "
    "outcome reject_reason attempts prompt_tokens generated_tokens model_id prompt_id run_id labelled_at "
    "num_faces"
).split()


def test_the_labels_table_has_the_published_columns_in_order() -> None:
    assert tables.LABELS.names == PUBLISHED


def test_no_column_can_hold_pixels() -> None:
    assert not any(pa.types.is_binary(field.type) for field in tables.LABELS)


def test_action_units_have_the_published_fields() -> None:
    fields = [field.name for field in tables.ACTION_UNITS]
    assert fields[:3] == ["au01", "au02", "au04"] and fields[-1] == "au43" and len(fields) == 26


def test_the_page_about_the_table_explains_every_column() -> None:
    page = (Path(__file__).parents[1] / "docs" / "table.md").read_text()
    assert [name for name in tables.LABELS.names if f"`{name}`" not in page] == []
