import pytest

from expllm import cot, datasets
from expllm.datasets.labels_table import COLUMNS
from expllm.errors import CallerError, Reject


def row(photo, **more):
    labelled = {
        "photo_uri": photo,
        "box_px": [1.0, 2.0, 3.0, 4.0],
        "expression": "happiness",
        "outcome": "labelled",
        "key_observations": "strong cheek raiser (happiness).",
        "interpretation": "The cheek raiser points to happiness.",
        "conclusion": "The face shows happiness.",
    }
    return dict.fromkeys(COLUMNS) | labelled | more


def test_labelled_rows_are_faces_with_their_texts(put):
    photo = str(put("a.jpg"))
    read = datasets.of_labels("out", [row(photo), row("s3://bucket/b.jpg", key_observations=None)])
    first, second = read.faces
    assert (first.photo, first.expression, first.box_px) == (photo, "happiness", (1, 2, 3, 4))
    assert first.action_units is None
    assert cot.parse(first.description, truncated=False).expression == "happiness"
    assert (second.photo, second.description) == ("s3://bucket/b.jpg", None)


def test_what_the_table_rejected_is_counted_and_what_has_no_face_is_left_out(put):
    rows = [
        row(str(put("a.jpg"))),
        row("/gone.jpg"),
        row("s3://b/c.jpg", outcome="rejected", reject_reason="corrupt"),
        row("s3://b/d.jpg", outcome="rejected", reject_reason="of another version"),
        row("s3://b/e.jpg", outcome="no_face"),
        row("s3://b/f.jpg", conclusion="The face shows anger."),
    ]
    read = datasets.of_labels("out", rows)
    assert len(read.faces) == 1
    assert read.rejected == {
        Reject.MISSING_FILE: 1,
        Reject.CORRUPT: 1,
        Reject.MALFORMED_ROW: 1,
        Reject.TEXT_MALFORMED: 1,
    }


def test_a_table_without_labels_is_refused():
    with pytest.raises(CallerError, match="out: holds no face"):
        datasets.of_labels("out", [])
