import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expllm import cot, facs, writer
from expllm.expressions import EXPRESSIONS
from expllm.facs import Side
from expllm.mirroring import mirrored_text

OTHER = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}
WORDS = st.sampled_from([*"left Right LEFT right all nothing away out leftward the brow , .".split(), "\n"])
FACES = st.fixed_dictionaries({column: st.sampled_from([0.0, 0.3, 0.5, 0.9]) for column in facs.COLUMNS})


def mirrored_face(face):
    """The intensities as they stand on the mirrored face."""
    places = zip(facs.COLUMNS, facs.MIRRORED_COLUMNS, strict=True)
    return {column: face[facs.COLUMNS[place]] for column, place in places}


@given(st.lists(WORDS).map(" ".join) | st.text())
def test_mirroring_twice_gives_the_text_back(text):
    assert mirrored_text(mirrored_text(text)) == text


@given(FACES, st.sampled_from(EXPRESSIONS), st.integers(0, 99))
def test_a_mirrored_text_is_the_text_of_the_mirrored_face(face, expression, seed):
    def written(intensities):
        return cot.render(writer.write(intensities, expression, random.Random(seed)))

    assert mirrored_text(written(face)) == written(mirrored_face(face))


@given(FACES, st.sampled_from(EXPRESSIONS))
def test_what_a_mirrored_text_observes_is_on_the_other_side(face, expression):
    text = writer.write(face, expression, random.Random(0)).key_observations
    seen, seen_mirrored = cot.observations(text), cot.observations(mirrored_text(text))
    assert [(o.number, o.strength, o.associated) for o in seen] == [
        (o.number, o.strength, o.associated) for o in seen_mirrored
    ]
    assert [OTHER.get(o.side, o.side) for o in seen] == [o.side for o in seen_mirrored]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clear left dimpler.", "clear right dimpler."),
        ("Left corner up, on the RIGHT side flat", "Right corner up, on the LEFT side flat"),
        ("the left-hand brow turns rightwards", "the right-hand brow turns leftwards"),
    ],
)
def test_sides_change_places_in_any_form(text, expected):
    assert mirrored_text(text) == expected


@pytest.mark.parametrize(
    "text", ["it is seen right away", "the smile is all right", "nothing left to see", "bright, upright"]
)
def test_words_that_name_no_side_stay(text):
    assert mirrored_text(text) == text
