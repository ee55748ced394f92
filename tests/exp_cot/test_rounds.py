"""The rounds with a teacher whose every word is given."""

from dataclasses import dataclass, field

import pytest

from expllm import cot, facs
from expllm.exp_cot import rounds
from expllm.exp_cot.rounds import Case, explain
from expllm.expressions import Expression

SMILE = {
    **dict.fromkeys(facs.COLUMNS, 0.0),
    "au06": 0.5,
    **dict.fromkeys(("au12", "au12_left", "au12_right"), 0.9),
}
SEEN = "strong lip corner puller, clear cheek raiser (happiness)."
MEANT = "The lip corner puller and the cheek raiser together point to happiness; contempt is far behind."
GOOD = f"**Key Observations:** {SEEN}\n**Overall Emotional Interpretation:** {MEANT}"
FALSE = GOOD.replace("strong lip", "strong brow lowerer, strong lip")
SHORT = "**Key Observations:** clear cheek raiser.\n**Overall Emotional Interpretation:** Happiness."
DONE = f"{GOOD}\n**Conclusion:** The face shows happiness.\n**Expression:** Happiness"


@dataclass
class Scripted:
    """Says what it was given, and keeps what it was told."""

    descriptions: list[str]
    guesses: list[Expression | None]
    conclusions: list[str] = field(default_factory=lambda: [DONE])
    cases: list[Case] = field(default_factory=list)
    faults: list[tuple[str, ...]] = field(default_factory=list)

    def describe(self, case):
        self.cases.append(case)
        return self.descriptions.pop(0)

    def guess(self, description):
        return self.guesses.pop(0)

    def reflect(self, case, description, faults):
        self.faults.append(tuple(faults))
        return "I see."

    def conclude(self, case, description, label):
        return self.conclusions.pop(0)


H, C = Expression.HAPPINESS, Expression.CONTEMPT


def test_a_right_guess_from_a_true_description_passes_in_the_first_round():
    explained = explain(SMILE, H, Scripted([GOOD], [H]))
    assert explained.chain == cot.parse(DONE, truncated=False)
    assert (explained.guesses, explained.is_verified, explained.faults) == ((H,), True, ())


def test_a_wrong_guess_is_remembered_in_the_next_round():
    teacher = Scripted([GOOD, GOOD], [C, H])
    assert explain(SMILE, H, teacher).guesses == (C, H)
    (attempt,) = teacher.cases[1].memory
    assert (attempt.description, attempt.guess, attempt.reflection) == (GOOD, C, "I see.")


def test_the_label_is_never_told_to_a_teacher_that_is_not_steered():
    teacher = Scripted([GOOD.replace("happiness", "contempt")] * 3, [C, None, C])
    explained = explain(SMILE, H, teacher)
    assert explained.chain is None and not explained.is_verified
    assert all(case.told is None for case in teacher.cases)
    assert "happiness" not in " ".join(" ".join(faults) for faults in teacher.faults)


@pytest.mark.parametrize(
    ("description", "fault"),
    [
        (FALSE, "It names what was not measured so: brow lowerer."),
        (SHORT, "It leaves out: lip corner puller."),
        ("", "It leaves out: cheek raiser, lip corner puller."),
    ],
)
def test_what_a_description_says_of_the_movements_is_held_against_the_measurement(description, fault):
    teacher = Scripted([description, GOOD], [H, H])
    assert explain(SMILE, H, teacher).guesses == (H, H)
    assert teacher.faults == [(fault,)]


def test_a_side_that_was_not_measured_is_a_fault():
    wrong = GOOD.replace("strong lip", "strong left lip")
    assert rounds.description_faults(wrong, H, H, SMILE) == (
        "It names what was not measured so: lip corner puller.",
    )


@pytest.mark.parametrize(
    ("conclusion", "fault"),
    [
        ("Happiness, surely.", "four heads"),
        (DONE.replace("point to happiness", "point to contempt rather than happiness"), "another expression"),
        (
            DONE.replace("Happiness", "Contempt").replace("shows happiness", "shows contempt"),
            "another expression",
        ),
        (DONE.replace("strong lip", "strong chin raiser, strong lip"), "chin raiser"),
        (DONE.replace("far behind", "far behind" + ", far behind" * 60), "more than"),
    ],
)
def test_a_finished_text_is_checked_once_more(conclusion, fault):
    teacher = Scripted([GOOD, GOOD], [H, H], [conclusion, DONE])
    assert explain(SMILE, H, teacher).is_verified
    assert any(fault in told for told in teacher.faults[0])


def test_a_face_that_never_passes_has_no_text_after_three_rounds():
    teacher = Scripted([FALSE] * 3, [H, C, C])
    explained = explain(SMILE, H, teacher)
    assert explained.chain is None
    assert explained.guesses == (H, C, C)
    assert explained.faults == (
        "It names what was not measured so: brow lowerer.",
        "A reader took it for contempt, which is not what the face shows.",
    )


def test_a_finished_text_that_never_passes_is_not_taken():
    explained = explain(
        SMILE,
        H,
        Scripted([GOOD] * 3, [H] * 3, [DONE.replace("strong lip", "strong chin raiser, strong lip")] * 3),
    )
    assert explained.chain is None and explained.faults


def test_a_steered_teacher_is_told_the_label_after_a_failed_round():
    teacher = Scripted([GOOD, GOOD], [C, H])
    assert explain(SMILE, H, teacher, label_steered=True).is_verified
    assert [case.told for case in teacher.cases] == [None, H]


def test_a_steered_text_is_taken_in_the_end_and_marked():
    explained = explain(SMILE, H, Scripted([FALSE] * 3, [C, C, C]), label_steered=True)
    assert explained.chain is not None and explained.chain.expression is H
    assert not explained.is_verified and explained.faults


def test_a_steered_text_with_another_label_is_not_taken():
    other = DONE.replace("Happiness", "Contempt").replace("shows happiness", "shows contempt")
    explained = explain(SMILE, H, Scripted([GOOD] * 3, [C] * 3, [other]), label_steered=True)
    assert explained.chain is None


def test_a_description_without_heads_is_read_as_a_whole():
    assert rounds.key_observations(SEEN) == SEEN
    assert rounds.key_observations(DONE).strip() == SEEN
