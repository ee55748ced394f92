import json

import pytest

from expllm import datasets
from expllm.errors import CallerError, Reject
from expllm.feafa import from_feafa

AU = [round(index / 24, 4) for index in range(24)]


def annotate(put, name, *entries):
    return put(name, json.dumps(entries))


def entries(count):
    return [{"file_name": f"{number}.jpg", "emo": "Fear"} for number in range(count)]


@pytest.fixture
def images(put, tmp_path):
    for number in range(10):
        put(f"images/{number}.jpg")
    return tmp_path / "images"


def test_an_annotation_has_label_action_units_text_and_box(put, images):
    entry = {
        "file_name": "0.jpg",
        "emo": "Surprise",
        "au": AU,
        "description": "**Key ...**",
        "bbox": [1, 2, 3, 4],
    }
    file = annotate(put, "images/annotation.json", entry)
    read = datasets.open(str(file))
    (face,) = read.faces
    assert read.name == "ExpLLM annotation"
    assert (face.photo, face.expression, face.repeat) == (str(images / "0.jpg"), "surprise", 1)
    assert face.action_units == from_feafa(AU)
    assert (face.description, face.box_px) == ("**Key ...**", (1, 2, 4, 6))


def test_the_truth_goes_before_a_models_answer(put, images):
    file = annotate(put, "images/a.json", {"file_name": "0.jpg", "emo": "Fear", "gt_emo": "Anger"})
    assert [face.expression for face in datasets.open(str(file)).faces] == ["anger"]


def test_bad_entries_are_counted_and_the_others_read(put, images):
    good = {"file_name": "0.jpg", "emo": "Fear"}
    bad = [
        good | {"emo": "Boredom"},
        good | {"file_name": "gone.jpg"},
        good | {"file_name": None},
        good | {"au": AU[:23]},
        good | {"au": [2.0] * 24},
        good | {"bbox": [1, 2, 3]},
        good | {"bbox": "here"},
        good | {"bbox": 0},
        "0.jpg",
    ]
    read = datasets.open(str(annotate(put, "images/a.json", good, *bad)))
    assert len(read.faces) == 1
    assert read.rejected == {
        Reject.UNKNOWN_LABEL: 1,
        Reject.MISSING_FILE: 1,
        Reject.MALFORMED_ROW: 2,
        Reject.MALFORMED_UNITS: 2,
        Reject.MALFORMED_BOX: 3,
    }


def test_a_list_says_how_often_each_annotation_counts(put, images, tmp_path):
    annotate(put, "data_list/anno_json/a.json", *entries(2))
    annotate(put, "data_list/anno_json/b.json", *entries(4))
    lines = [
        f"data_list/anno_json/a.json,{images},3",
        "",
        "data_list/anno_json/b.json, images",
        "data_list/anno_json/b.json,images,2.5",
    ]
    read = datasets.open(str(put("data_list/train/mix.txt", "\n".join(lines))))
    assert read.name == "ExpLLM list"
    assert [face.repeat for face in read.faces] == [3] * 2 + [1] * 4 + [2] * 4


def test_a_repeat_below_one_draws_that_share_once_and_the_same_every_time(put, images):
    annotate(put, "a.json", *entries(10))
    file = str(put("mix.txt", "a.json,images,0.35"))
    drawn = [face.photo for face in datasets.open(file).faces]
    assert len(drawn) == len(set(drawn)) == 3
    assert drawn == [face.photo for face in datasets.open(file).faces]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.json,images,0", "repeat must be a number above 0, not 0"),
        ("a.json,images,often", "repeat must be a number above 0, not often"),
        ("a.json,images,inf", "repeat must be a number above 0"),
        ("a.json,images,1,2", "is not json,root,repeat"),
        ("b.json,images,1", "there is no b.json"),
        ("a.json,elsewhere,1", "there is no elsewhere"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(put, images, line, reason):
    annotate(put, "a.json", *entries(1))
    file = put("mix.txt", f"a.json,images,1\n{line}\n")
    with pytest.raises(CallerError, match=rf"mix.txt, line 2: {reason}"):
        datasets.open(str(file))


@pytest.mark.parametrize(("text", "reason"), [("[", "is not JSON"), ("{}", "is no list of faces")])
def test_an_annotation_that_is_none_is_refused(put, text, reason):
    with pytest.raises(CallerError, match=reason):
        datasets.open(str(put("a.json", text)))
