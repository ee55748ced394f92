import pytest

from expllm import datasets
from expllm.errors import CallerError, Reject

HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
)
LANDMARKS = ";".join(["12.5"] * 136)


def line(name, label, box="10,20,100,120"):
    return f"{name},{box},{LANDMARKS},{label},0.1,-0.2\n"


@pytest.fixture
def official(put, tmp_path):
    put("training.csv", HEADER + line("1/a.jpg", 1) + line("2/b.jpg", 7))
    put("validation.csv", line("1/c.png", 0))
    for name in ("1/a.jpg", "2/b.jpg", "1/c.png"):
        put(f"Manually_Annotated_Images/{name}")
    return tmp_path


def test_both_official_lists_are_read_with_or_without_a_header(official):
    read = datasets.open(str(official))
    assert read.name == "AffectNet"
    assert [(face.expression, face.split) for face in read.faces] == [
        ("happiness", "train"),
        ("contempt", "train"),
        ("neutral", "val"),
    ]
    assert {face.box_px for face in read.faces} == {(10, 20, 110, 140)}
    assert read.faces[0].photo == str(official / "Manually_Annotated_Images/1/a.jpg")


def test_one_list_is_read_alone(official):
    assert len(datasets.open(str(official / "validation.csv")).faces) == 1


def test_the_eight_numbers_are_these_and_the_rest_is_dropped(official, put):
    put("training.csv", HEADER + "".join(line("1/a.jpg", number) for number in range(11)))
    read = datasets.open(str(official / "training.csv"))
    words = "neutral happiness sadness surprise fear disgust anger contempt".split()
    assert [face.expression for face in read.faces] == words
    assert read.rejected == {Reject.UNKNOWN_LABEL: 3}


def test_bad_rows_are_counted_and_the_others_read(official, put):
    rows = [
        line("1/a.jpg", 1),
        line("1/gone.jpg", 1),
        line("3/gone.jpg", 1),
        line("1/a.jpg", 1, "NULL,NULL,NULL,NULL"),
        line("1/a.jpg", 1, "1,2,0,4"),
        "1/a.jpg,1,2\n",
    ]
    put("training.csv", HEADER + "".join(rows))
    read = datasets.open(str(official / "training.csv"))
    assert len(read.faces) == 1
    assert read.rejected == {Reject.MISSING_FILE: 2, Reject.MALFORMED_BOX: 2, Reject.MALFORMED_ROW: 1}


def test_lists_without_pictures_say_what_is_missing(put, tmp_path):
    put("training.csv", HEADER + line("1/a.jpg", 1))
    with pytest.raises(CallerError, match="put the folder Manually_Annotated_Images beside it"):
        datasets.open(str(tmp_path))


def test_automatic_labels_are_read_when_they_are_named(official, put):
    automatic = put("automatically_annotated.csv", HEADER + line("1/d.jpg", 5))
    put("Automatically_Annotated_Images/1/d.jpg")
    assert len(datasets.open(str(official)).faces) == 3
    assert [face.expression for face in datasets.open(str(automatic)).faces] == ["disgust"]


def test_lists_lie_in_their_own_folder_as_well(put, tmp_path):
    put("Manually_Annotated_file_lists/training.csv", HEADER + line("1/a.jpg", 6))
    put("Manually_Annotated/Manually_Annotated_Images/1/a.jpg")
    assert [face.expression for face in datasets.open(str(tmp_path)).faces] == ["anger"]


def test_the_list_on_kaggle_goes_before_its_folders(put, tmp_path):
    put("labels.csv", ",pth,label,relFCs\n0,anger/a.jpg,surprise,0.8\n1,anger/b.jpg,bored,0.8\n")
    put("anger/a.jpg")
    put("anger/b.jpg")
    read = datasets.open(str(tmp_path))
    assert [(face.photo, face.expression) for face in read.faces] == [
        (str(tmp_path / "anger/a.jpg"), "surprise")
    ]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1}


def test_the_sample_on_kaggle_counts_from_one(put, tmp_path):
    rows = "../input/affectnetsample/train_class/class001/a.jpg,1.0\ntrain_class/class008/b.jpg,8\nc.jpg,0\n"
    put("train-sample-affectnet.csv", "image,emotion\n" + rows)
    put("train_class/class001/a.jpg")
    put("train_class/class008/b.jpg")
    read = datasets.open(str(tmp_path))
    assert [(face.expression, face.split) for face in read.faces] == [
        ("neutral", "train"),
        ("contempt", "train"),
    ]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1}


def test_the_same_columns_under_another_name_are_not_guessed_at(put):
    with pytest.raises(CallerError, match=r"its columns \(image, emotion\) are no known data set's"):
        datasets.open(str(put("mine.csv", "image,emotion\na.jpg,1\n")))
