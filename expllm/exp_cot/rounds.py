"""Measured movements and a label into a checked chain of thought, in at most three rounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from expllm import cot
from expllm.cot import ChainOfThought, Observation
from expllm.errors import Reject
from expllm.expressions import Expression
from expllm.facs import ACTION_UNITS, EXPECTED_FROM, Intensities, movements

MOST_ROUNDS = 3
LEAST_RECALL = 0.8
"""Share of the movements from facs.EXPECTED_FROM on that a text must name to pass."""
MOST_WORDS = 110
"""A longer chain of thought would not fit into prompt.MAX_ANSWER_TOKENS."""


@dataclass(frozen=True)
class Attempt:
    """One round that did not pass."""

    description: str
    guess: Expression | None
    """What the blind reader read out of the description; None where it named no one expression."""
    faults: tuple[str, ...]
    """What was wrong, in sentences; they never tell the label, unless the texts are steered by it."""
    reflection: str


@dataclass(frozen=True)
class Case:
    """What a teacher is told of one face."""

    measured: Intensities
    memory: tuple[Attempt, ...] = ()
    """The earlier rounds."""
    told: Expression | None = None
    """The label, where the texts are steered by it; None else."""


class Teacher(Protocol):
    """Writes texts about faces that it never sees: from measured movements alone."""

    def describe(self, case: Case) -> str:
        """Describe the movements and weigh them, under the heads KEY_OBSERVATIONS and INTERPRETATION."""

    def guess(self, description: str) -> Expression | None:
        """Read the expression out of a description alone; None where it names no one expression."""

    def reflect(self, case: Case, description: str, faults: Sequence[str]) -> str:
        """Say what the description got wrong, for the next round."""

    def conclude(self, case: Case, description: str, label: Expression) -> str:
        """Bring a description whose label was read rightly into the grammar of cot.parse."""


@dataclass(frozen=True)
class Explained:
    """What came of one face."""

    chain: ChainOfThought | None
    """None where no round passed."""
    guesses: tuple[Expression | None, ...]
    """The blind reader's guess in each round."""
    is_verified: bool
    """Whether the text passed; False for one that was forced to the label."""
    faults: tuple[str, ...] = ()
    """What was wrong in the last round, if it did not pass."""


def explain(
    measured: Intensities, label: Expression, teacher: Teacher, *, label_steered: bool = False
) -> Explained:
    """Have a teacher explain a label by the movements measured on the face.

    Args:
        label_steered: Tell the teacher the label after the first round that fails, and take its last text
            even where it does not pass, as long as it is one: how the published texts seem to have been made.

    Source:
        The flow is that of the Exp-CoT Engine (ExpLLM, arXiv 2409.02828); here the checks are computed.
    """
    case, guesses = Case(measured), list[Expression | None]()
    for number in range(1, MOST_ROUNDS + 1):
        description = teacher.describe(case)
        guesses.append(teacher.guess(description))
        faults, chain = description_faults(description, guesses[-1], label, measured), None
        if not faults or (label_steered and number == MOST_ROUNDS):
            chain, wrong = _concluded(teacher, case, description, label)
            faults += wrong
        if not faults:
            return Explained(chain, tuple(guesses), is_verified=True)
        if number < MOST_ROUNDS:
            case = replace(case, told=label if label_steered else None)
            case = _remembering(case, description, guesses[-1], faults, teacher)
    forced = chain if label_steered else None
    return Explained(forced, tuple(guesses), is_verified=False, faults=faults)


def _concluded(
    teacher: Teacher, case: Case, description: str, label: Expression
) -> tuple[ChainOfThought | None, tuple[str, ...]]:
    """The finished text, None where it is none or has another label, and what is wrong with it."""
    answer = cot.parse(teacher.conclude(case, description, label), truncated=False)
    faults = chain_faults(answer, label, case.measured)
    if isinstance(answer, Reject) or answer.expression is not label:
        return None, faults
    return answer, faults


def _remembering(
    case: Case, description: str, guess: Expression | None, faults: tuple[str, ...], teacher: Teacher
) -> Case:
    reflection = teacher.reflect(case, description, faults)
    return replace(case, memory=(*case.memory, Attempt(description, guess, faults, reflection)))


def description_faults(
    description: str, guess: Expression | None, label: Expression, measured: Intensities
) -> tuple[str, ...]:
    """Say what is wrong with a description: its movements, or what a reader takes from it."""
    wrong = movement_faults(cot.observations(key_observations(description)), measured)
    if guess is None:
        return (*wrong, "A reader could not tell from it which one expression the face shows.")
    if guess is not label:
        return (*wrong, f"A reader took it for {guess}, which is not what the face shows.")
    return wrong


def chain_faults(
    answer: ChainOfThought | Reject, label: Expression, measured: Intensities
) -> tuple[str, ...]:
    """Say what is wrong with a finished text: form, length, label, or the movements it names."""
    if isinstance(answer, Reject):
        return ("The finished text does not have the four heads in order, each with its text.",)
    wrong = movement_faults(cot.observations(answer.key_observations), measured)
    dominant, _ = cot.weighed(answer.interpretation)
    if answer.expression is not label or dominant is not label:
        wrong = (*wrong, "The finished text weighs the movements for another expression than it concludes.")
    if len(cot.render(answer).split()) > MOST_WORDS:
        wrong = (*wrong, f"The finished text has more than {MOST_WORDS} words.")
    return wrong


def movement_faults(named: Sequence[Observation], measured: Intensities) -> tuple[str, ...]:
    """Say which movements are named and not there, and which are there and not named.

    A text that leaves out few of those it must name passes (LEAST_RECALL).
    """
    agreement = cot.agreement(named, measured)
    false = [o.number for o in named if cot.agreement([o], measured).precision == 0]
    missing = {m.number for m in movements(measured, EXPECTED_FROM)} - {o.number for o in named}
    faults = []
    if false:
        faults.append(f"It names what was not measured so: {_names(false)}.")
    if agreement.recall is not None and agreement.recall < LEAST_RECALL:
        faults.append(f"It leaves out: {_names(sorted(missing))}.")
    return tuple(faults)


def key_observations(description: str) -> str:
    """The text under the head KEY_OBSERVATIONS up to the next head; all of a text without heads."""
    _, _, after = description.partition(cot.begin(cot.KEY_OBSERVATIONS))
    return (after or description).partition(cot.begin(cot.INTERPRETATION))[0]


def _names(numbers: Sequence[int]) -> str:
    return ", ".join(dict.fromkeys(ACTION_UNITS[number].name for number in numbers))
