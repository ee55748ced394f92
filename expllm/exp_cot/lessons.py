"""Data sets and instruction rows -> the faces that a training sees, each with the text that explains it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from expllm import cot
from expllm.datasets import Dataset, LabelledFace
from expllm.datasets.labelled import check_people
from expllm.errors import CallerError, Reject
from expllm.exp_cot.instructions import NoText, Row, face_key
from expllm.expressions import EXPRESSIONS, Expression

TRAIN = "train"


@dataclass(frozen=True)
class Lesson:
    """A labelled face to be learnt from."""

    key: str
    face: LabelledFace
    text: str | None
    """Its chain of thought as cot.render writes it."""

    @property
    def is_explained(self) -> bool:
        """Whether there is a text, or one can be written from what is truly there."""
        return self.text is not None or self.face.action_units is not None

    @property
    def row(self) -> Row:
        """What tables.EXAMPLES holds of it beside what is found; `box_px` is where to look."""
        face = self.face
        return {
            "face_key": self.key,
            "photo": face.photo,
            "box_px": None if face.box_px is None else list(face.box_px),
            "person": None if face.person is None else str(face.person),
            "expression": face.expression and str(face.expression),
            "true_units": face.action_units and dict(face.action_units),
            "text": self.text,
        }


@dataclass(frozen=True)
class Lessons:
    """All faces that a training sees in one pass, sorted by key: so their order tells nothing of them."""

    lessons: tuple[Lesson, ...]
    rejected: Mapping[str, int]
    """Rows that are not learnt from, by reason."""
    num_held_out: int
    """Faces of other splits than the training's."""
    num_unread_texts: int
    """Texts that do not follow the grammar or name another label: their faces go without."""

    @property
    def num_unexplained(self) -> int:
        """Faces that can be asked for their label alone."""
        return sum(not lesson.is_explained for lesson in self.lessons)

    @property
    def data_id(self) -> str:
        """A hash that changes with anything that is learnt but for what lies in the photographs named."""
        digest = hashlib.sha256()
        for lesson in self.lessons:
            digest.update(json.dumps(lesson.row).encode())
            digest.update(lesson.face.image or b"")
        return digest.hexdigest()


def gather(datasets: Iterable[Dataset], instructions: Iterable[Mapping[str, Any]]) -> Lessons:
    """Join what data sets and rows of tables.INSTRUCTIONS say of the same face, and take the training's part.

    A face that a data set names takes its text from the instructions, and brings what they lack: pixels
    inside a CSV, true action units. Where splits are known, those of the training are taken.

    Raises:
        CallerError: nothing is left, or a person is in the training's split and in another.
    """
    rejected: Counter[str] = Counter()
    known: dict[str, Lesson] = {}
    unread = 0
    for dataset in datasets:
        rejected.update({str(reason): number for reason, number in dataset.rejected.items()})
        for face in dataset.faces:
            lesson = Lesson(face_key(face), face, _text(face.description, face.expression))
            unread += lesson.text is None and face.description is not None
            known[lesson.key] = lesson
    for row in instructions:
        reason = _add(row, known)
        if reason is Reject.TEXT_MALFORMED:
            unread += 1
        elif reason is not None:
            rejected[reason] += 1
    rejected[NoText.NO_LABEL] += sum(lesson.face.expression is None for lesson in known.values())
    labelled = [lesson for key, lesson in sorted(known.items()) if lesson.face.expression is not None]
    taken = [lesson for lesson in labelled if lesson.face.split in (None, TRAIN)]
    others = [lesson.face for lesson in labelled if lesson.face.split not in (None, TRAIN)]
    check_people([lesson.face for lesson in taken], others)
    if not taken:
        raise CallerError(f"no face is left to train on: {told(+rejected)}, {len(others)} of other splits")
    repeated = tuple(lesson for lesson in taken for _ in range(lesson.face.repeat))
    return Lessons(repeated, +rejected, len(others), unread)


def told(rejected: Mapping[str, int]) -> str:
    """Counts by reason as one line says them."""
    return ", ".join(f"{number} {reason}" for reason, number in sorted(rejected.items())) or "none rejected"


def _add(row: Mapping[str, Any], known: dict[str, Lesson]) -> str | None:
    """Put an instruction row's text to its face; why it adds nothing, if so."""
    key = row["face_key"]
    if row["text"] is None:
        return None if key in known else str(row["reject_reason"])
    if row["expression"] not in EXPRESSIONS:
        return Reject.UNKNOWN_LABEL
    lesson = known.get(key) or Lesson(key, _face(row), None)
    text = _text(row["text"], lesson.face.expression)
    known[key] = replace(lesson, text=text or lesson.text)
    return None if text else Reject.TEXT_MALFORMED


def _face(row: Mapping[str, Any]) -> LabelledFace:
    left, top, right, bottom = row["box_px"]
    return LabelledFace(
        row["photo"],
        Expression(row["expression"]),
        box_px=(left, top, right, bottom),
        person=row["person"],
        split=row["split"],
    )


def _text(written: str | None, expression: Expression | None) -> str | None:
    """A text in the form that `render` gives it; None where it cannot be read or is of another label."""
    chain = None if written is None else cot.parse(written, truncated=False)
    if not isinstance(chain, cot.ChainOfThought) or chain.expression is not expression:
        return None
    return cot.render(chain)
