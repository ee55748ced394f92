import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from expllm import cot, facs
from expllm.cot import (
    NOT_VISIBLE,
    Agreement,
    ChainOfThought,
    Observation,
    agreement,
    observations,
    parse,
    render,
    weighed,
)
from expllm.errors import CallerError, Reject
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import Side, Strength

CHAIN = ChainOfThought(
    key_observations="strong lip corner puller (happiness).",
    interpretation="The lip corner puller alone points to happiness; nothing points elsewhere.",
    conclusion="The face shows happiness.",
    expression=Expression.HAPPINESS,
)
PUBLISHED = """**Key Observations:** The corners of the mouth are raised.

**Overall Emotional Interpretation**: Together they suggest joy.

**Conclusion:**
The face shows clear happiness.
"""


@st.composite
def chains(draw):
    section = st.text(min_size=1).map(str.strip).filter(lambda text: text.splitlines() == [text])
    texts = [draw(section) for _ in range(3)]
    expression = draw(st.sampled_from(EXPRESSIONS))
    try:
        return ChainOfThought(*texts, expression)
    except CallerError:  # the text names another expression
        assume(False)


def face(**intensities):
    return {**dict.fromkeys(facs.COLUMNS, 0.0), **intensities}


def seen(*numbers, side=Side.BOTH, strength=Strength.CLEAR):
    return tuple(Observation(number, side, strength, ()) for number in numbers)


def numbers(text):
    return [observation.number for observation in observations(text)]


@given(chains(), st.booleans())
def test_what_is_rendered_is_read_back(chain, label_first):
    assert parse(render(chain, label_first=label_first), truncated=False) == chain


def test_each_head_stands_on_its_own_line_and_the_label_comes_last():
    assert render(CHAIN).splitlines() == [
        "**Key Observations:** strong lip corner puller (happiness).",
        "**Overall Emotional Interpretation:** The lip corner puller alone points to happiness; "
        "nothing points elsewhere.",
        "**Conclusion:** The face shows happiness.",
        "**Expression:** Happiness",
    ]


@pytest.mark.parametrize(
    "section", ["", " padded", "two\nlines", "a **Conclusion:** inside", "odd\u2028break"]
)
def test_a_section_is_one_stripped_line_without_heads(section):
    with pytest.raises(CallerError):
        ChainOfThought(section, "meant", "concluded", Expression.FEAR)


def test_a_conclusion_cannot_name_another_expression_than_the_label():
    with pytest.raises(CallerError):
        ChainOfThought("seen", "meant", "The face shows anger.", Expression.FEAR)


def test_a_truncated_text_is_never_read():
    assert parse(render(CHAIN), truncated=True) is Reject.TEXT_TRUNCATED


def test_the_published_three_heads_are_read_and_labelled_by_their_conclusion():
    chain = parse(PUBLISHED, truncated=False)
    assert chain == ChainOfThought(
        "The corners of the mouth are raised.",
        "Together they suggest joy.",
        "The face shows clear happiness.",
        Expression.HAPPINESS,
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clear happiness", "happiness or surprise"),  # two labels
        ("clear happiness", "warmth"),  # none
        ("clear happiness", "no happiness"),  # denied
        ("happiness.", "happiness with a"),  # breaks off
    ],
)
def test_a_published_conclusion_that_does_not_give_one_label_is_malformed(old, new):
    assert parse(PUBLISHED.replace(old, new), truncated=False) is Reject.TEXT_MALFORMED


def test_an_adjective_in_a_published_conclusion_is_a_label():
    chain = parse(PUBLISHED.replace("clear happiness", "a sad person"), truncated=False)
    assert isinstance(chain, ChainOfThought)
    assert chain.expression is Expression.SADNESS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**Expression:** Happiness", "**Expression:** Joy"),
        ("**Expression:** Happiness", "**Expression:** Happiness or Fear"),
        ("**Expression:** Happiness", "**Expression:**"),
        ("**Expression:** Happiness", "**Expression:** Happiness\nand more"),
        ("**Expression:** Happiness", "**Expression:** Anger"),  # the conclusion says happiness
        ("**Conclusion:** The face shows happiness.\n", ""),
        ("**Conclusion:** The face shows happiness.", "**Conclusion:**"),
        ("**Key Observations:**", "Key Observations:"),
        ("**Key Observations:**", "Sure! **Key Observations:**"),
        ("**Conclusion:**", "**Key Observations:**"),
        ("\n**Conclusion:**", " **Conclusion:**"),
    ],
)
def test_a_text_off_the_grammar_is_malformed(old, new):
    assert old in render(CHAIN)
    assert parse(render(CHAIN).replace(old, new), truncated=False) is Reject.TEXT_MALFORMED


@given(st.text())
def test_any_other_text_is_malformed(text):
    assert parse(text, truncated=False) is Reject.TEXT_MALFORMED


@given(st.integers(0, len(render(CHAIN)) - 1))
def test_a_beginning_of_an_answer_is_never_labelled_otherwise_than_the_whole(length):
    chain = parse(render(CHAIN)[:length], truncated=False)
    assert chain in (CHAIN, Reject.TEXT_MALFORMED)


def test_observations_have_number_side_strength_and_expressions():
    text = (
        "Strong left dimpler (contempt); slight brow lowerer, faint lid tightener (anger, disgust); "
        "clear lip suck."
    )
    assert observations(text) == (
        Observation(14, Side.LEFT, Strength.STRONG, (Expression.CONTEMPT,)),
        Observation(4, Side.BOTH, Strength.SLIGHT, (Expression.ANGER, Expression.DISGUST)),
        Observation(7, Side.BOTH, Strength.FAINT, (Expression.ANGER, Expression.DISGUST)),
        Observation(28, Side.BOTH, Strength.CLEAR, ()),
    )


def test_a_strength_holds_for_the_whole_group():
    text = "strong inner brow raiser, outer brow raiser and upper lid raiser (surprise, fear)"
    assert {(o.strength, o.associated) for o in observations(text)} == {
        (Strength.STRONG, (Expression.SURPRISE, Expression.FEAR))
    }


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("lip corner puller on the right side", Side.RIGHT),
        ("right lip corner puller", Side.RIGHT),
        ("one-sided lip corner puller", None),
        ("lip corner puller on one side", None),
        ("left dimpler, lip corner puller", Side.BOTH),
    ],
)
def test_the_side_is_read_before_and_after_the_name(text, side):
    assert {o.number: o.side for o in observations(text)}[12] is side


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("no brow lowerer", []),
        ("strong jaw drop (surprise), without any brow lowerer or lid tightener", [26]),
        ("no brow lowerer, lid tightener or chin raiser; slight jaw drop", [26]),
        ("neither a brow lowerer nor a lid tightener, but a clear jaw drop", [26]),
        ("no brow lowerer, strong jaw drop", [26]),
        ("the brow lowerer and the lid tightener are absent", []),
        ("brow lowerer and lid tightener are not visible, the jaw drop is", [26]),
        ("Clear jaw drop, nothing else stands out.", [26]),
    ],
)
def test_denied_movements_are_not_named(text, named):
    assert numbers(text) == named


def test_the_longest_name_is_the_one_that_counts():
    assert numbers("lip corner depressor; lower lip depressor; lip tightener; lid tightener; lips part") == [
        15,
        16,
        23,
        7,
        25,
    ]


def test_a_movement_named_twice_is_one_observation():
    assert numbers("strong jaw drop; slight brow lowerer; the jaw drop again") == [26, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X and Y point to fear; surprise comes second.", (Expression.FEAR, Expression.SURPRISE)),
        ("It points to fear, not anger; nothing points elsewhere.", (Expression.FEAR, None)),
        ("Fear it is, for fear alone fits.", (Expression.FEAR, None)),
        ("No movement speaks for disgust; the face looks neutral.", (Expression.NEUTRAL, None)),
        ("Nothing to weigh.", (None, None)),
    ],
)
def test_an_interpretation_gives_its_dominant_and_secondary_expression(text, expected):
    assert weighed(text) == expected


def test_agreement_is_the_share_of_true_names_and_of_named_truths():
    assert agreement(seen(6, 26), face(au06=0.5, au25=0.3, au09=0.12)) == Agreement(0.5, 0.5)


@pytest.mark.parametrize(("intensity", "precision"), [(0.09, 0.0), (facs.NAMED_FROM, 1.0)])
def test_a_movement_may_be_named_from_the_lower_bound_on(intensity, precision):
    assert agreement(seen(9), face(au09=intensity)) == Agreement(precision, None)


def test_a_movement_that_cannot_be_measured_is_left_out():
    assert agreement(seen(9), face(au09=None)) == Agreement(None, None)


def test_nothing_named_of_a_face_at_rest_has_no_agreement():
    assert agreement((), face()) == Agreement(None, None)


@pytest.mark.parametrize(
    ("side", "precision"), [(Side.LEFT, 1.0), (Side.RIGHT, 0.0), (None, 1.0), (Side.BOTH, 1.0)]
)
def test_a_wrong_side_of_a_one_sided_movement_is_wrong(side, precision):
    intensities = face(au12=0.4, au12_left=0.8, au12_right=0.0)
    assert agreement(seen(12, side=side), intensities) == Agreement(precision, 1.0)


def test_a_side_is_not_judged_where_it_cannot_be_measured():
    intensities = face(au12=0.5, au12_left=None, au12_right=None)
    assert agreement(seen(12, side=Side.LEFT), intensities).precision == 1.0


def test_a_one_sided_claim_about_a_movement_of_both_sides_is_wrong():
    intensities = face(au12=0.5, au12_left=0.5, au12_right=0.5)
    assert agreement(seen(12, side=Side.LEFT), intensities).precision == 0.0


@pytest.mark.parametrize(
    ("said", "share"), [(Strength.STRONG, 1.0), (Strength.SLIGHT, 1.0), (Strength.FAINT, 0.0), (None, None)]
)
def test_a_strength_agrees_within_one_band(said, share):
    assert cot.strength_agreement(seen(9, strength=said), face(au09=0.5)) == share


def test_an_answer_that_sees_no_face_is_a_reason_and_no_label():
    assert parse(f"{NOT_VISIBLE}\n", truncated=False) is Reject.FACE_NOT_VISIBLE
    assert parse(f"{NOT_VISIBLE} Anger.", truncated=False) is Reject.TEXT_MALFORMED
