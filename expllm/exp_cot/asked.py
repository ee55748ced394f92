"""The teacher that is a chat model: what it is asked in each step, and how its answers are read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expllm import cot
from expllm.checksums import short_sha256
from expllm.exp_cot.calls import Call, Complete, Message, Parameter
from expllm.exp_cot.rounds import MOST_WORDS, Attempt, Case
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import NAMED_FROM, Intensities, movements

_HEADS = f"{cot.begin(cot.KEY_OBSERVATIONS)} and {cot.begin(cot.INTERPRETATION)}"
_WORDS = ", ".join(e.word for e in EXPRESSIONS)

_DESCRIBE = (
    "You write about facial expressions for a data set. You get the facial movements that were measured on "
    f"one face, each with its strength in words. Write two paragraphs that begin with {_HEADS}, and nothing "
    "else. In the first, name every movement with its strength, in the very words that you were given, and "
    "in brackets the expressions it may be a part of; name a side only where one was given, and no movement "
    "that was not, not even to say that it is absent. In the second, say how the movements act together, "
    "which expression is dominant, and how it stands to the runner-up. At most 80 words. "
    f"The expressions are {_WORDS}."
)
_GUESS = (
    "You read a description of a face that you cannot see. Answer with the one expression that the face "
    f"shows according to it, and with nothing else: {_WORDS}."
)
_REFLECT = (
    "In at most 50 words, say which movements your description gave too much weight, and which too little. "
    "Do not write a new description."
)
_AGAIN = "Write a new description of the same face. "
_CONCLUDE = (
    "You bring descriptions of faces into one form. Write four paragraphs, each on one line, that begin "
    f"with {', '.join(map(cot.begin, cot.HEADS[:-1]))} and {cot.begin(cot.EXPRESSION)}. "
    "Keep the names of the movements, their strengths and sides, and add none. The "
    "interpretation names the dominant expression before any other. The conclusion is one sentence and names "
    "the given expression and no other. The last paragraph is the given expression alone. "
    f"At most {MOST_WORDS - 20} words in all."
)


@dataclass(frozen=True)
class ChatTeacher:
    """Asks a chat model about one face, which the model never sees."""

    complete: Complete
    model: str
    parameters: Mapping[str, Parameter]

    def describe(self, case: Case) -> str:
        """Ask for a description, with the whole course of the earlier rounds before the question."""
        turns = [Message("user", _measured(case.measured))]
        for attempt in case.memory:
            turns += [_said(attempt.description), Message("user", _feedback(attempt, case))]
        return self._ask(_DESCRIBE, turns)

    def guess(self, description: str) -> Expression | None:
        """Ask for the expression, with nothing but the description."""
        dominant, other = cot.weighed(self._ask(_GUESS, [Message("user", description)]))
        return dominant if other is None else None

    def reflect(self, case: Case, description: str, faults: Sequence[str]) -> str:
        """Ask what the description got wrong."""
        turns = [Message("user", _measured(case.measured)), _said(description)]
        question = " ".join([*faults, *_told(case), _REFLECT])
        return self._ask(_DESCRIBE, [*turns, Message("user", question)])

    def conclude(self, case: Case, description: str, label: Expression) -> str:
        """Ask for the description in the form of the grammar."""
        return self._ask(_CONCLUDE, [Message("user", f"{description}\n\nThe face shows {label}.")]).strip()

    def _ask(self, task: str, turns: Sequence[Message]) -> str:
        call = Call(self.model, (Message("system", task), *turns), self.parameters)
        return self.complete(call).text


def _said(description: str) -> Message:
    return Message("assistant", description or "(cut off)")  # endpoints refuse an empty turn


def _measured(intensities: Intensities) -> str:
    found = ", ".join(map(cot.mention, movements(intensities, NAMED_FROM)))
    return f"Movements: {found or 'none'}."


def _feedback(attempt: Attempt, case: Case) -> str:
    return " ".join([*attempt.faults, *_told(case), attempt.reflection, _AGAIN, _measured(case.measured)])


def _told(case: Case) -> tuple[str, ...]:
    return () if case.told is None else (f"The face shows {case.told}.",)


def prompts_id(parameters: Mapping[str, Parameter]) -> str:
    """Short hash that changes with what is asked, and how."""
    tasks = [_DESCRIBE, _GUESS, _REFLECT, _AGAIN, _CONCLUDE]
    return short_sha256(json.dumps([tasks, dict(parameters)], sort_keys=True))
