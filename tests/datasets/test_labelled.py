import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm.datasets import SPLITS, Dataset, LabelledFace, check_people
from expllm.datasets.labelled import Rejected, gather
from expllm.errors import CallerError, Reject
from expllm.expressions import EXPRESSIONS, Expression

ROWS = st.lists(
    st.one_of(
        st.builds(
            LabelledFace,
            photo=st.text(max_size=3),
            expression=st.sampled_from(EXPRESSIONS),
            split=st.sampled_from(SPLITS),
        ),
        st.builds(Rejected, st.sampled_from(Reject), st.sampled_from([None, *SPLITS])),
    ),
    max_size=20,
)


def face(photo="a.jpg", person=None, split=None):
    return LabelledFace(photo, Expression.NEUTRAL, person=person, split=split)


@given(ROWS)
def test_every_row_is_a_face_or_counted(rows):
    rows.append(face())
    read = gather("set", "here", rows, None)
    assert len(read.faces) + sum(read.rejected.values()) == len(rows)


@given(ROWS, st.sampled_from(SPLITS))
def test_a_split_has_its_own_faces_and_what_it_may_have_lost(rows, split):
    rows.append(face(split=split))
    read = gather("set", "here", rows, split)
    assert list(read.faces) == [row for row in rows if isinstance(row, LabelledFace) and row.split == split]
    lost = [row for row in rows if isinstance(row, Rejected) and row.split in (None, split)]
    assert sum(read.rejected.values()) == len(lost)


@pytest.mark.parametrize(
    ("rows", "split", "line"),
    [
        ([], None, "here: holds no face"),
        ([face()], "train", "here: is not divided into splits, so there is no 'train'"),
        ([face(split="train"), face(split="val")], "test", "here: has no split 'test'; it has train, val"),
        ([Rejected(Reject.MISSING_FILE)] * 3, None, r"none of its rows can be used \(missing_file 3\)"),
    ],
)
def test_where_no_face_is_left_the_line_says_why(rows, split, line):
    with pytest.raises(CallerError, match=line):
        gather("set", "here", rows, split)


def test_people_on_one_side_each_pass():
    check_people([face("a.jpg", "anna"), face("b.jpg", "anna")], [face("c.jpg", "ben"), face("d.jpg")])


def test_a_person_on_both_sides_is_counted_and_named():
    train = Dataset("train", [face("a.jpg", "anna"), face("b.jpg", "ben"), face("c.jpg", "carl")])
    test = Dataset("test", [face("d.jpg", "carl"), face("e.jpg", "ben")])
    with pytest.raises(CallerError, match=r"^2 people are on both sides, training and test, such as ben;"):
        check_people(train, test)


def test_a_photograph_on_both_sides_is_the_same_person_even_if_nobody_knows_who():
    with pytest.raises(CallerError, match=r"1 person is on both sides.* such as a.jpg"):
        check_people([face("a.jpg")], [face("b.jpg"), face("a.jpg")])
