"""Hints and pictures that do not fit, and what the texts about them tell: do they see, or do they repeat."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.pictures import Picture
from expllm import cot
from expllm.cot import ChainOfThought
from expllm.errors import Reject
from expllm.evaluation import texts
from expllm.evaluation.texts import mean
from expllm.facs import ACTION_UNITS, COLUMNS, NAMED_FROM, Intensities, movements
from expllm.labels import Answer

FALSE_INTENSITY = 0.6
"""How strong the movement is said to be that is not on the face."""
MOST_REPEATED = 0.15
"""No more texts than this share should repeat a false hint."""

_UNREADABLE = (Reject.TEXT_MALFORMED, Reject.TEXT_TRUNCATED)

Text = ChainOfThought | Reject
"""What is read of an answer, or why nothing is."""


@dataclass(frozen=True)
class Asked:
    """One face, and the texts about it; `hints` are the movements measured on it."""

    picture: Picture
    hints: Intensities
    false: int | None
    """The action unit that a hint names and the face does not show."""
    other: Picture
    """The face whose hints it was given."""
    text: Text
    """With its own picture and hints."""
    text_blank: Text
    """With a grey picture and its own hints."""
    text_false: Text
    """With its own picture and hints, and a false one."""
    text_other: Text
    """With its own picture and the other face's hints."""


@dataclass(frozen=True)
class Controls:
    """Shares of texts, or means over texts, 0..1; None where there is none to count."""

    faces: int
    own_hints_label_right: float | None
    blank_picture_says_so: float | None
    """The answer is that the face cannot be made out; the others are measured below."""
    blank_picture_text_unreadable: float | None
    blank_picture_movements_from_hints: float | None
    """Share of the movements a text names that hints give."""
    blank_picture_hints_repeated: float | None
    """Share of the plain movements of the hints that a text names."""
    blank_picture_label_right: float | None
    false_hint_repeated: float | None
    false_hint_movement_named_without_it: float | None
    false_hint_changes_label: float | None
    other_hints_label_of_picture: float | None
    other_hints_label_of_hints: float | None


def measure(asked: Sequence[Asked]) -> Controls:
    """Count what the texts follow."""
    blank = [(one, one.text_blank) for one in asked if isinstance(one.text_blank, ChainOfThought)]
    agreements = [cot.agreement(_named(text), one.hints) for one, text in blank]
    misled = [
        (one.text, one.text_false, one.false)
        for one in asked
        if isinstance(one.text, ChainOfThought)
        and isinstance(one.text_false, ChainOfThought)
        and one.false is not None
    ]
    return Controls(
        faces=len(asked),
        own_hints_label_right=mean(_shows(one.text, one.picture) for one in asked),
        blank_picture_says_so=mean(one.text_blank is Reject.FACE_NOT_VISIBLE for one in asked),
        blank_picture_text_unreadable=mean(one.text_blank in _UNREADABLE for one in asked),
        blank_picture_movements_from_hints=mean(agreement.precision for agreement in agreements),
        blank_picture_hints_repeated=mean(agreement.recall for agreement in agreements),
        blank_picture_label_right=mean(_shows(one.text_blank, one.picture) for one in asked),
        false_hint_repeated=mean(names(text, number) for _, text, number in misled),
        false_hint_movement_named_without_it=mean(names(text, number) for text, _, number in misled),
        false_hint_changes_label=mean(own.expression is not text.expression for own, text, _ in misled),
        other_hints_label_of_picture=mean(_shows(one.text_other, one.picture) for one in asked),
        other_hints_label_of_hints=mean(_shows(one.text_other, one.other) for one in asked),
    )


def read(answer: Answer) -> Text:
    """The chain of thought of an answer, or why there is none."""
    return cot.parse(answer.text, truncated=answer.is_truncated)


def false_movement(true: Intensities, seed: int) -> int | None:
    """Draw an action unit of which the face shows next to nothing; None where it shows all."""
    there = {movement.number for movement in movements(true, NAMED_FROM / 2)}
    absent = [number for number in ACTION_UNITS if number not in there]
    return random.Random(seed).choice(absent) if absent else None


def with_movement(hints: Intensities, number: int) -> dict[str, float | None]:
    """The hints with one movement more, on both sides, as strong as FALSE_INTENSITY."""
    column = ACTION_UNITS[number].column
    own = {name for name in COLUMNS if name == column or name.startswith(f"{column}_")}
    return {name: FALSE_INTENSITY if name in own else value for name, value in hints.items()}


def other_face(shown: Sequence[Picture], index: int) -> int:
    """The next face of another person that shows another expression, round the list.

    Raises:
        ValueError: there is none.
    """
    this = shown[index]
    following = [*range(index + 1, len(shown)), *range(index)]
    for other in following:
        if shown[other].expression is not this.expression and shown[other].person != this.person:
            return other
    raise ValueError("no other person shows another expression")


def names(text: ChainOfThought, number: int) -> bool:
    """Whether Key Observations names an action unit."""
    return texts.names(text.key_observations, number)


def _named(text: ChainOfThought) -> tuple[cot.Observation, ...]:
    return cot.observations(text.key_observations)


def _shows(text: Text, picture: Picture) -> bool:
    return isinstance(text, ChainOfThought) and text.expression is picture.expression
