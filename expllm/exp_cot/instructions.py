"""A labelled face and what came of it into one row of instruction data."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from expllm import cot
from expllm.config import Price
from expllm.datasets import LabelledFace
from expllm.errors import TRANSIENT, Reject
from expllm.exp_cot.calls import Meter, cost
from expllm.exp_cot.rounds import Explained
from expllm.tables import INSTRUCTIONS

Row = dict[str, Any]
"""One row of tables.INSTRUCTIONS: every column is a key, None where it says nothing."""


class NoText(StrEnum):
    """Why a labelled face has no text, beside the reasons of its photograph (errors.Reject)."""

    NO_LABEL = "no_label"
    """The data set gives it no expression."""
    NOT_FOUND = "not_found"
    """No face is found in the photograph, or none where the data set has it."""
    NOT_ACCEPTED = "not_accepted"
    """No round passed."""
    TEACHER_FAILED = "teacher_failed"
    """The teacher gave no answer."""
    UNPAID = "unpaid"
    """The spending limit was reached before its texts were paid for; no such row is kept."""


_KEY_DIGITS = 24
"""Enough for a billion faces without two of the same key."""
TRIED_AGAIN = frozenset({*map(str, TRANSIENT), str(NoText.TEACHER_FAILED), str(NoText.UNPAID)})
"""Reasons that may have been the moment's fault: the next run tries these faces again."""


def face_key(face: LabelledFace) -> str:
    """Hash of which face of which photograph has which label."""
    box_px = None if face.box_px is None else [float(side) for side in face.box_px]
    told = json.dumps([face.photo, box_px, face.expression])
    return hashlib.sha256(told.encode()).hexdigest()[:_KEY_DIGITS]


def described(face: LabelledFace) -> Row:
    """What the data set says of a face, by the table's columns; `box_px` is the data set's own box."""
    return {
        "photo": face.photo,
        "face_key": face_key(face),
        "box_px": None if face.box_px is None else list(face.box_px),
        "person": None if face.person is None else str(face.person),
        "split": face.split,
        "expression": face.expression and str(face.expression),
    }


def explained_row(known: Mapping[str, Any], explained: Explained, meter: Meter, price: Price | None) -> Row:
    """The row of a face that was asked about: with its text, or with what was wrong in the last round."""
    chain = explained.chain
    return _row(
        known,
        _paid(meter, price),
        {
            "text": chain and cot.render(chain),
            "reject_reason": None if chain else str(NoText.NOT_ACCEPTED),
            "faults": list(explained.faults),
            "rounds": len(explained.guesses),
            "guesses": [guess and str(guess) for guess in explained.guesses],
            "is_verified": explained.is_verified,
        },
    )


def rejected_row(
    known: Mapping[str, Any],
    reason: Reject | NoText,
    *,
    faults: Iterable[str] = (),
    meter: Meter | None = None,
    price: Price | None = None,
) -> Row:
    """The row of a face without a text, with what was paid for it all the same."""
    paid = {} if meter is None else _paid(meter, price)
    return _row(known, paid, {"reject_reason": str(reason), "faults": list(faults), "is_verified": False})


def _paid(meter: Meter, price: Price | None) -> Row:
    return {
        "calls": meter.calls,
        "prompt_tokens": meter.prompt_tokens,
        "generated_tokens": meter.generated_tokens,
        "cost": None if price is None else cost(price, meter.prompt_tokens, meter.generated_tokens),
    }


def _row(*parts: Mapping[str, Any]) -> Row:
    known = {column: value for part in parts for column, value in part.items()}
    return {column: known.get(column) for column in INSTRUCTIONS.names}
