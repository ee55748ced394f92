import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expllm import cot, facs
from expllm.expressions import EXPRESSIONS, Expression
from expllm.writer import AT_REST, MOST_SHOWN, SHOWN_FROM, classify, write

INTENSITY = st.floats(0, 1) | st.just(0.0) | st.none()
FACES = st.fixed_dictionaries({column: INTENSITY for column in facs.COLUMNS})
SPARSE_FACES = st.dictionaries(st.sampled_from(facs.COLUMNS), st.floats(0, 1), max_size=6).map(
    lambda found: {**dict.fromkeys(facs.COLUMNS, 0.0), **found}
)
LABELS = st.sampled_from(EXPRESSIONS)
FEW = settings(max_examples=40)
RANDOMS = st.randoms(use_true_random=False)

PROTOTYPES = {
    Expression.HAPPINESS: {"au06": 0.9, "au12": 1.0, "au25": 1.0},
    Expression.SADNESS: {"au01": 1.0, "au04": 0.15, "au15": 1.0, "au17": 0.6},
    Expression.SURPRISE: {"au01": 1.0, "au02": 1.0, "au05": 1.0, "au26": 1.0},
    Expression.FEAR: {"au01": 1.0, "au02": 0.45, "au04": 0.25, "au05": 1.0, "au20": 1.0, "au25": 1.0},
    Expression.DISGUST: {"au09": 1.0, "au10": 0.9, "au04": 0.5, "au07": 0.5, "au15": 0.35, "au17": 0.5},
    Expression.ANGER: {"au04": 1.0, "au05": 0.45, "au07": 0.6, "au23": 0.8, "au24": 0.3, "au09": 0.35},
    Expression.CONTEMPT: {"au12_left": 0.8, "au14_left": 0.9},
    Expression.NEUTRAL: {},
}


def face(**intensities):
    sides = {f"au12_{side}": intensities.get("au12", 0.0) for side in ("left", "right")}
    return {**dict.fromkeys(facs.COLUMNS, 0.0), **sides, **intensities}


def text(intensities, expression, seed=0):
    return write(intensities, expression, random.Random(seed))


@FEW
@given(FACES | SPARSE_FACES, LABELS, RANDOMS)
def test_the_text_names_exactly_the_movements_shown(intensities, label, rng):
    named = cot.observations(write(intensities, label, rng).key_observations)
    shown = facs.movements(intensities, SHOWN_FROM)
    strongest = sorted((m.intensity for m in shown), reverse=True)[:MOST_SHOWN]
    expected = {(m.number, m.side, facs.strength(m.intensity)) for m in shown if m.intensity in strongest}
    found = {(o.number, o.side, o.strength) for o in named}
    assert found <= expected
    assert len(found) == len(named) == min(len(shown), MOST_SHOWN)


@FEW
@given(FACES | SPARSE_FACES, LABELS, RANDOMS)
def test_movements_are_named_with_up_to_two_of_their_own_expressions(intensities, label, rng):
    for o in cot.observations(write(intensities, label, rng).key_observations):
        own = facs.associated(o.number, o.side)
        assert set(o.associated) <= set(own)
        assert min(len(own), 1) <= len(o.associated) <= 2


@FEW
@given(SPARSE_FACES, LABELS, RANDOMS)
def test_the_text_agrees_fully_with_the_face(intensities, label, rng):
    named = cot.observations(write(intensities, label, rng).key_observations)
    agreement = cot.agreement(named, intensities)
    assert agreement.precision in (None, 1.0)
    assert agreement.recall in (None, 1.0)
    assert cot.strength_agreement(named, intensities) in (None, 1.0)


@FEW
@given(FACES | SPARSE_FACES, LABELS, RANDOMS)
def test_what_is_written_is_read_back(intensities, label, rng):
    chain = write(intensities, label, rng)
    assert cot.parse(cot.render(chain), truncated=False) == chain


@FEW
@given(FACES | SPARSE_FACES, LABELS, RANDOMS)
def test_the_dominant_expression_is_the_label_unless_nothing_speaks_for_it(intensities, label, rng):
    scores = classify(intensities)
    dominant, secondary = cot.weighed(write(intensities, label, rng).interpretation)
    if label is Expression.NEUTRAL or scores[label] > 0:
        assert dominant is label
        assert secondary is None or scores[secondary] == max(scores[e] for e in EXPRESSIONS if e is not label)
    else:
        assert dominant is not None
        assert scores[dominant] == max(scores.values())


@FEW
@given(FACES | SPARSE_FACES, LABELS, RANDOMS)
def test_the_text_says_so_where_another_expression_fits_better(intensities, label, rng):
    scores = classify(intensities)
    contested = max(scores.values()) > scores[label]
    assert write(intensities, label, rng).conclusion.startswith("Even so") == contested


@FEW
@given(FACES, LABELS, RANDOMS)
def test_a_text_is_short(intensities, label, rng):
    assert len(cot.render(write(intensities, label, rng)).split()) <= 110


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_prototype_scores_highest_for_its_own_expression(expression):
    scores = classify(face(**PROTOTYPES[expression]))
    assert max(scores, key=scores.__getitem__) is expression


def test_a_face_at_rest_is_neutral_and_nothing_else():
    assert classify(face()) == {**dict.fromkeys(EXPRESSIONS, 0.0), Expression.NEUTRAL: AT_REST}


def test_a_movement_divides_its_intensity_among_its_expressions():
    scores = classify(face(au02=0.9))
    assert scores[Expression.SURPRISE] == pytest.approx(0.6)
    assert scores[Expression.FEAR] == pytest.approx(0.3)


def test_a_happy_face_reads_as_a_person_would_write_it():
    chain = text(face(au06=0.5, au12=0.9, au25=0.3), Expression.HAPPINESS)
    assert chain.key_observations == (
        "clear cheek raiser, strong lip corner puller (happiness); slight lips part (happiness, surprise)."
    )
    assert chain.interpretation.startswith("The lip corner puller and the cheek raiser ")
    assert chain.interpretation.endswith(" happiness; surprise is far behind.")


@pytest.mark.parametrize(
    ("intensities", "ending"),
    [
        (face(au09=0.8, au01=1.0), "; sadness is near, given the inner brow raiser."),
        (face(au09=0.7, au15=1.0), "; sadness is near, sharing the lip corner depressor."),
    ],
)
def test_a_near_runner_up_comes_with_the_movement_that_speaks_for_it(intensities, ending):
    assert text(intensities, Expression.DISGUST).interpretation.endswith(ending)


def test_a_label_without_any_sign_is_called_so():
    chain = text(face(au06=0.9, au12=0.9), Expression.ANGER)
    assert chain.interpretation.startswith("No movement speaks for anger; ")
    assert chain.conclusion in ("Even so, the face shows anger.", "Even so, the expression is anger.")


def test_a_one_sided_lip_corner_puller_speaks_for_contempt():
    chain = text(face(au12=0.4, au12_left=0.8, au12_right=0.0), Expression.CONTEMPT)
    assert chain.key_observations.startswith("strong left lip corner puller (contempt)")


@pytest.mark.parametrize("seed", range(20))
def test_a_face_at_rest_says_that_nothing_stands_out(seed):
    seen = text(face(), Expression.NEUTRAL, seed).key_observations
    assert "at rest" in seen or "no movement stands out" in seen.lower()
    assert cot.observations(seen) == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_faint_expression_is_called_faint(seed):
    assert "faint" in text(face(au06=0.2, au12=0.35), Expression.HAPPINESS, seed).conclusion
    assert "faint" not in text(face(au06=0.2, au12=0.5), Expression.HAPPINESS, seed).conclusion


@pytest.mark.parametrize("seed", range(20))
def test_a_text_says_so_where_little_is_to_be_seen(seed):
    openings = ("Little is to be seen: ", "Hardly anything moves: ", "Close to rest: ")
    assert text(face(au04=0.2), Expression.NEUTRAL, seed).key_observations.startswith(openings)
    assert not text(face(au04=0.3), Expression.ANGER, seed).key_observations.startswith(openings)


def test_the_wording_varies():
    chains = {text(face(au06=0.5, au12=0.9), Expression.HAPPINESS, seed) for seed in range(40)}
    assert len(chains) > 8
