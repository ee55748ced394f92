from collections import Counter

import pytest

from expllm import datasets
from expllm.errors import CallerError, Reject
from expllm.expressions import Expression

LIST = "basic/EmoLabel/list_patition_label.txt"
ALIGNED = "basic/Image/aligned"


@pytest.fixture
def basic(put, tmp_path):
    put(LIST, "train_00001.jpg 5\ntrain_00002.jpg 4\ntest_0001.jpg 7\n")
    for name in ("train_00001", "train_00002", "test_0001"):
        put(f"{ALIGNED}/{name}_aligned.jpg")
    return tmp_path / "basic"


def of(faces):
    return [(face.photo.rsplit("/", 1)[1], face.expression, face.split) for face in faces]


@pytest.mark.parametrize("source", [".", "EmoLabel/list_patition_label.txt", "Image/aligned", ".."])
def test_the_official_list_goes_with_the_aligned_pictures(basic, source):
    read = datasets.open(str(basic / source))
    assert read.name == "RAF-DB"
    assert of(read.faces) == [
        ("train_00001_aligned.jpg", Expression.SADNESS, "train"),
        ("train_00002_aligned.jpg", Expression.HAPPINESS, "train"),
        ("test_0001_aligned.jpg", Expression.NEUTRAL, "test"),
    ]
    assert all(face.box_px is None for face in read.faces)


def test_its_seven_numbers_are_these(put, tmp_path):
    put(LIST, "".join(f"train_0000{number}.jpg {number}\n" for number in range(1, 8)))
    for number in range(1, 8):
        put(f"{ALIGNED}/train_0000{number}_aligned.jpg")
    words = [face.expression for face in datasets.open(str(tmp_path)).faces]
    assert words == ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]


def test_bad_rows_are_counted_and_the_others_read(basic, put):
    put(LIST, "train_00001.jpg 5\ntrain_00002.jpg 9\ntrain_00003.jpg 4\ntest_0001.jpg\n\n")
    read = datasets.open(str(basic))
    assert len(read.faces) == 1
    assert read.rejected == Counter([Reject.UNKNOWN_LABEL, Reject.MISSING_FILE, Reject.MALFORMED_ROW])


def test_one_split_is_read_alone(basic):
    assert [face.split for face in datasets.open(str(basic), split="test").faces] == ["test"]


def test_original_pictures_have_their_boxes(basic, put):
    for name, box in (("train_00001", "10 20.5 110 140 "), ("train_00002", "10 20"), ("test_0001", None)):
        put(f"basic/Image/original/{name}.jpg")
        if box:
            put(f"basic/Annotation/boundingbox/{name}_boundingbox.txt", box)
    read = datasets.open(str(basic / "Image" / "original"))
    assert [face.box_px for face in read.faces] == [(10, 20.5, 110, 140)]
    assert read.rejected == {Reject.MALFORMED_BOX: 2}


def test_original_pictures_without_boxes_are_refused(basic, put):
    put("basic/Image/original/train_00001.jpg")
    with pytest.raises(CallerError, match="boundingbox: is not there"):
        datasets.open(str(basic / "Image" / "original"))


def test_a_list_without_pictures_says_which_folder_is_missing(put, tmp_path):
    put(LIST, "train_00001.jpg 5\n")
    with pytest.raises(CallerError, match=r"basic: has no pictures; put the folder Image/aligned into it"):
        datasets.open(str(tmp_path))


def test_compound_expressions_are_groups_and_none_of_the_eight(put, tmp_path):
    put("compound/EmoLabel/list_patition_label.txt", "train_0001.jpg 1\ntest_001.jpg 11\ntest_002.jpg 12\n")
    for name in ("train_0001", "test_001", "test_002"):
        put(f"compound/Image/aligned/{name}_aligned.jpg")
    read = datasets.open(str(tmp_path / "compound"))
    assert [(face.expression, face.groups["compound"]) for face in read.faces] == [
        (None, "happily surprised"),
        (None, "disgustedly surprised"),
    ]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1}


def test_a_compound_list_that_looks_basic_is_refused(basic, put):
    put(LIST, "".join(f"train_00001.jpg {number}\n" for number in range(1, 12)))
    with pytest.raises(CallerError, match="holds compound expressions; put it into a folder named compound"):
        datasets.open(str(basic))
