import pytest

from expllm import datasets
from expllm.errors import CallerError, Reject


def of(read):
    return sorted((face.photo.rsplit("/", 1)[1], face.expression, face.split) for face in read.faces)


def test_a_folder_for_each_class_is_read(put, tmp_path):
    put("Angry/b.JPG")
    put("happiness/deeper/a.png")
    read = datasets.open(str(tmp_path))
    assert read.name == "class folders"
    assert of(read) == [("a.png", "happiness", None), ("b.JPG", "anger", None)]


def test_classes_may_lie_in_splits(put, tmp_path):
    put("Train/Sad/a.png")
    put("validation/Sad/b.png")
    put("test/Neutral/c.png")
    read = datasets.open(str(tmp_path))
    assert of(read) == [
        ("a.png", "sadness", "train"),
        ("b.png", "sadness", "val"),
        ("c.png", "neutral", "test"),
    ]
    assert of(datasets.open(str(tmp_path), split="val")) == [("b.png", "sadness", "val")]


def test_what_has_no_class_is_counted(put, tmp_path):
    put("train/fear/a.jpg")
    put("train/uncertain/b.jpg")
    put("train/c.jpg")
    put("fear/d.tiff")
    for no_picture in ("fear/notes.txt", "fear/.hidden.jpg", ".cache/e.jpg"):
        put(no_picture)
    read = datasets.open(str(tmp_path))
    assert of(read) == [("a.jpg", "fear", "train")]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 2, Reject.UNKNOWN_FORMAT: 1}


def test_the_classes_of_affectnets_sample_count_from_one(put, tmp_path):
    put("train_class/class001/a.jpg")
    put("val_class/class008/b.jpg")
    put("val_class/class009/c.jpg")
    read = datasets.open(str(tmp_path))
    assert of(read) == [("a.jpg", "neutral", "train"), ("b.jpg", "contempt", "val")]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1}


@pytest.fixture
def numbered(put, tmp_path):
    for number in range(1, 8):
        put(f"train/{number}/{number}.jpg")
    return str(tmp_path)


def test_numbers_as_classes_are_not_guessed_at(numbered):
    with pytest.raises(CallerError, match=r"say whose they are: raf-db:\S+, affectnet:\S+, fer2013:"):
        datasets.open(numbered)


@pytest.mark.parametrize(
    ("name", "words", "rejected"),
    [
        ("raf-db", "surprise fear disgust happiness sadness anger neutral", {}),
        ("affectnet", "happiness sadness surprise fear disgust anger contempt", {}),
        ("fer2013", "disgust fear happiness sadness surprise neutral", {Reject.UNKNOWN_LABEL: 1}),
    ],
)
def test_numbers_are_read_as_the_data_set_that_is_named(numbered, name, words, rejected):
    read = datasets.open(f"{name}:{numbered}")
    assert [face.expression for face in read.faces] == words.split()
    assert read.rejected == rejected


def test_a_data_set_is_named_before_a_folder_of_numbers_alone(put, tmp_path):
    put("happiness/a.jpg")
    with pytest.raises(CallerError, match="has no class folders 1, 2, 3"):
        datasets.open(f"raf-db:{tmp_path}")


def test_pictures_may_be_named_by_expression_and_person(put, tmp_path):
    put("happiness_012.jpg")
    put("neutral_012.jpg")
    put("portrait.jpg")
    read = datasets.open(str(tmp_path))
    assert [(face.expression, face.person) for face in read.faces] == [
        ("happiness", "012"),
        ("neutral", "012"),
    ]
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1}
