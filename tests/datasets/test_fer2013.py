import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import datasets
from expllm.datasets.fer2013 import _elected
from expllm.datasets.vocabularies import FERPLUS
from expllm.errors import CallerError, Reject
from expllm.expressions import Expression
from expllm.photographs import decode

PIXELS = " ".join(str(number % 256) for number in range(48 * 48))
VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
USAGES = ("Training", "PublicTest", "PrivateTest")


def pixel_rows(*rows):
    return "emotion,pixels,Usage\n" + "".join(f"{label},{pixels},{usage}\n" for label, pixels, usage in rows)


def test_pixels_become_a_picture_that_can_be_decoded(put):
    file = put("fer2013.csv", pixel_rows((3, PIXELS, "Training")))
    (face,) = datasets.open(str(file)).faces
    photograph = decode(face.image)
    assert photograph.pixels[..., 0].ravel().tolist() == list(map(int, PIXELS.split()))
    assert face.photo == f"{file}#1"


def test_its_numbers_and_splits_are_these(put, tmp_path):
    put("fer2013.csv", pixel_rows(*((number, PIXELS, USAGES[number % 3]) for number in range(7))))
    read = datasets.open(str(tmp_path))
    words = "anger disgust fear happiness sadness surprise neutral".split()
    assert [face.expression for face in read.faces] == words
    assert [face.split for face in read.faces[:3]] == ["train", "val", "test"]


def test_kaggle_writes_blanks_before_its_columns_or_leaves_out_the_usage(put):
    blanks = put("icml_face_data.csv", f"emotion, Usage, pixels\n0,Training,{PIXELS}\n")
    bare = put("train.csv", f"emotion,pixels\n0,{PIXELS}\n")
    assert [datasets.open(str(file)).faces[0].split for file in (blanks, bare)] == ["train", None]


def test_bad_rows_are_counted_and_the_others_read(put):
    rows = [
        (0, PIXELS, "Training"),
        (7, PIXELS, "Training"),
        (0, PIXELS + " 12", "Training"),
        (0, PIXELS[:-1] + "x", "Training"),
        (0, "300 " + PIXELS[2:], "Training"),
        (0, "", "Training"),
        (0, PIXELS, "Elsewhere"),
    ]
    read = datasets.open(str(put("fer2013.csv", pixel_rows(*rows))))
    assert len(read.faces) == 1
    assert read.rejected == {
        Reject.UNKNOWN_LABEL: 1,
        Reject.MALFORMED_PIXELS: 4,
        Reject.MALFORMED_ROW: 1,
    }


@pytest.fixture
def ferplus(put, tmp_path):
    put(
        "fer2013.csv", pixel_rows((0, PIXELS, "Training"), (0, PIXELS, "PublicTest"), (0, PIXELS, "Training"))
    )
    put(
        "fer2013new.csv",
        VOTES
        + "Training,fer0000000.png,0,9,1,0,0,0,0,0,0,0\n"
        + "PublicTest,fer0000001.png,0,0,0,0,0,0,0,8,2,0\n"
        + "Training,,0,0,0,0,0,0,0,0,0,10\n",
    )
    return tmp_path


def test_votes_label_the_pixels_beside_them(ferplus):
    read = datasets.open(str(ferplus))
    assert read.name == "FERPlus"
    assert [(face.expression, face.split) for face in read.faces] == [
        ("happiness", "train"),
        ("contempt", "val"),
    ]
    assert all(face.image for face in read.faces)
    assert read.rejected == {Reject.UNKNOWN_LABEL: 1}


def test_the_old_labels_can_be_asked_for(ferplus):
    assert {face.expression for face in datasets.open(str(ferplus / "fer2013.csv")).faces} == {"anger"}


@pytest.mark.parametrize(
    "rows", [(), ((0, PIXELS, "Training"),) * 3, ((0, PIXELS, "Training"), (0, PIXELS, "PublicTest"))]
)
def test_votes_that_are_not_those_of_the_pixels_are_refused(ferplus, put, rows):
    put("fer2013.csv", pixel_rows(*rows))
    with pytest.raises(CallerError, match=r"row \d is not that of fer2013.csv; both need the same rows"):
        datasets.open(str(ferplus))


def test_votes_without_pixels_take_the_pictures(ferplus, put):
    (ferplus / "fer2013.csv").unlink()
    put("FER2013Train/fer0000000.png")
    read = datasets.open(str(ferplus / "fer2013new.csv"))
    assert [face.photo for face in read.faces] == [str(ferplus / "FER2013Train/fer0000000.png")]
    assert read.rejected == {Reject.MISSING_FILE: 1, Reject.UNKNOWN_LABEL: 1}


def test_votes_alone_say_what_is_missing(ferplus):
    (ferplus / "fer2013.csv").unlink()
    with pytest.raises(CallerError, match=r"fer2013new.csv: has no pictures; put fer2013.csv beside it"):
        datasets.open(str(ferplus))


@pytest.mark.parametrize(
    ("votes", "meaning"),
    [
        ("6 0 1 1 0 0 0 0 2 0", Expression.NEUTRAL),
        ("4 0 0 4 1 0 0 0 1 0", Reject.UNDECIDED),
        ("4 0 0 2 2 0 0 0 0 0", Reject.UNDECIDED),
        ("3 1 1 1 1 1 1 1 0 0", Expression.NEUTRAL),
        ("1 1 1 1 1 1 1 1 1 1", Reject.UNDECIDED),
        ("1 0 0 0 0 0 0 0 9 0", Reject.UNKNOWN_LABEL),
        ("a 0 0 0 0 0 0 0 0 0", Reject.MALFORMED_ROW),
    ],
)
def test_more_than_half_must_agree_and_single_votes_do_not_count(votes, meaning):
    assert _elected(votes.split()) is meaning


@given(st.lists(st.integers(0, 10), min_size=10, max_size=10))
def test_no_expression_wins_without_the_most_votes(votes):
    meaning = _elected(list(map(str, votes)))
    if isinstance(meaning, Expression):
        assert votes[list(FERPLUS).index(str(meaning))] == max(votes) > 1
