import pytest

from expllm import datasets
from expllm.errors import CallerError, Reject

LINES = "pictures/a film.png 10,20,110,140,0 200,20.5,300,140,3\npictures/b.png 1,2,3,4,6\n"


@pytest.fixture
def pictures(put, tmp_path):
    put("sfew/pictures/a film.png")
    put("sfew/pictures/b.png")
    return tmp_path / "sfew"


def test_every_box_is_a_face(pictures, put):
    read = datasets.open(str(put("sfew/2007_train.txt", LINES)))
    assert [(face.photo, face.box_px, face.expression, face.split) for face in read.faces] == [
        (str(pictures / "pictures/a film.png"), (10, 20, 110, 140), "anger", "train"),
        (str(pictures / "pictures/a film.png"), (200, 20.5, 300, 140), "happiness", "train"),
        (str(pictures / "pictures/b.png"), (1, 2, 3, 4), "surprise", "train"),
    ]


def test_bad_boxes_are_counted_and_the_others_read(pictures, put):
    lines = (
        "pictures/b.png\npictures/b.png 1,2,1,4,0\npictures/b.png 1,2,3,4,7 1,2,3,4,0\ngone.png 1,2,3,4,0\n"
    )
    read = datasets.open(str(put("sfew/2007_val.txt", LINES + lines)))
    assert len(read.faces) == 4
    assert read.rejected == {Reject.MALFORMED_BOX: 2, Reject.UNKNOWN_LABEL: 1, Reject.MISSING_FILE: 1}


@pytest.mark.parametrize("name", ["sfew/classes.txt", "sfew/model_data/raf_classes.txt"])
def test_a_file_may_say_what_the_numbers_mean(pictures, put, name):
    put("sfew/model_data/coco_classes.txt", "person\nbicycle\n")
    put(name, "Surprise \nFear\nDisgust\nHappiness\nSadness\nAnger\nNeutral\n")
    read = datasets.open(str(put("sfew/train.txt", LINES)))
    assert [face.expression for face in read.faces] == ["surprise", "happiness", "neutral"]


def test_numbers_that_nothing_explains_are_not_guessed_at(put):
    put("faces/pictures/b.png")
    with pytest.raises(CallerError, match=r"write their names into one classes.txt beside it"):
        datasets.open(str(put("faces/train.txt", "pictures/b.png 1,2,3,4,6\n")))


def test_two_meanings_of_the_numbers_are_one_too_many(pictures, put):
    put("sfew/sfew_classes.txt", "Angry\nHappy\n")
    put("sfew/raf_classes.txt", "Happy\nAngry\n")
    with pytest.raises(CallerError, match=r"write their names into one classes.txt beside it"):
        datasets.open(str(put("sfew/train.txt", LINES)))


def test_the_first_pictures_may_have_no_face(pictures, put):
    read = datasets.open(str(put("sfew/train.txt", "pictures/b.png\n" + LINES)))
    assert (len(read.faces), read.rejected) == (3, {Reject.MALFORMED_BOX: 1})
