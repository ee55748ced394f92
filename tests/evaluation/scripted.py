"""A model that answers by rule, and faces to ask it about: what the tests of evaluation share."""

import math
import random
from collections.abc import Sequence

import numpy as np

from expllm import cot, prompt, writer
from expllm.datasets import LabelledFace
from expllm.errors import Reject
from expllm.evaluation.answers import Question, Reply, SeenFace
from expllm.evaluation.asking import Shown, ShownPair
from expllm.evaluation.chains import intensities
from expllm.evaluation.counterfactual import Pair
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS, Intensities

REST = dict.fromkeys(COLUMNS, 0.0)
SMILE = REST | {"au06": 0.7, "au12": 0.8, "au12_left": 0.8, "au12_right": 0.8}
FROWN = REST | {"au04": 0.9, "au07": 0.7, "au23": 0.8}


def units(strong: dict[str, float]) -> dict[str, float]:
    """A face at rest but for some movements."""
    return REST | strong


def seen(action_units: Intensities) -> SeenFace:
    """A face as it is found, measured without error; `ScriptedModel` sees the same in its features."""
    values = np.array([action_units[column] or 0.0 for column in COLUMNS], np.float16)
    return SeenFace(np.zeros((112, 112, 3), np.uint8), action_units, values[None])


def shown(
    expression: Expression,
    action_units: Intensities,
    person: str = "1",
    *,
    peak: float | None = None,
    groups: dict[str, str] | None = None,
) -> Shown:
    """A labelled face that was found."""
    face = LabelledFace(
        "a.jpg", expression, action_units=action_units, person=person, peak=peak, groups=groups or {}
    )
    return Shown(face, seen(action_units))


def pair(number: int, present: Intensities, absent: Intensities, person: str = "1") -> ShownPair:
    """Two found faces that differ in one movement."""
    faces = [shown(writer.rule(action_units), action_units, person) for action_units in (absent, present)]
    return ShownPair(Pair(number, faces[0].face, faces[1].face), *faces)


class ScriptedModel:
    """Names what its features show, or what its hints say, and gives the label that the rule gives.

    Args:
        is_blind: It tells what hints say, and without them that the face is at rest.
        follows: Whether it goes on from changed observations with the label that they call for.
        garbles: Whether its texts follow no grammar.
    """

    temperature = 2.0
    continues = True
    can_put_label_first = True

    def __init__(self, *, is_blind: bool = False, follows: bool = True, garbles: bool = False) -> None:
        self._is_blind, self._follows, self._garbles = is_blind, follows, garbles

    def answer(self, questions: Sequence[Question]) -> list[Reply | Reject]:
        return [self._reply(question) for question in questions]

    def _reply(self, question: Question) -> Reply:
        sees = dict(zip(COLUMNS, map(float, question.face.features[0]), strict=True))
        if self._is_blind:
            sees = dict(question.hints or REST)
        label = writer.rule(sees)
        chain = writer.write(sees, label, random.Random(0))
        text = cot.render(chain, label_first=question.is_label_first)
        if question.begun:
            text = question.begun + self._rest(question.begun, label)
        if self._garbles:
            text = "A smile, I think."
        scores = {e: math.log(0.86 if e is label else 0.02) for e in EXPRESSIONS}
        return Reply(text, False, 60, scores if question.is_scored else {})

    def _rest(self, begun: str, own: Expression) -> str:
        observations = begun.partition(":** ")[2].partition("\n")[0]
        label = writer.rule(intensities(cot.observations(observations))) if self._follows else own
        return (
            f" {label.word} is dominant.\n**{cot.CONCLUSION}:** The face shows {label}."
            f"\n**{cot.EXPRESSION}:**{prompt.label_words()[label]}"
        )
