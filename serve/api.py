"""The HTTP endpoint's words: what a client sends and what it gets back."""

import base64
import binascii
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from expllm.errors import Outcome, Reject
from expllm.labels import Row

MAX_BODY_BYTES = 32 * 1024 * 1024
"""A request is refused with 413 as soon as it is larger."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Columns(BaseModel):
    """Columns of the labels table; those that are not told to clients are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PhotoRequest(_Message):
    """The JSON form of a request; the other is a multipart form with the file field `photo`."""

    photo_base64: str

    def photo(self) -> bytes:
        """The photograph's bytes.

        Raises:
            ValueError: the text is not base64.
        """
        try:
            return base64.b64decode(self.photo_base64, validate=True)
        except binascii.Error as error:
            raise ValueError("photo_base64 is not base64") from error


class Observation(_Columns):
    """One movement that the text names."""

    au: int
    side: str | None
    """`left`, `right` or `both`; null where the text says that one side shows it, but not which."""
    strength: str | None
    """Null where the text gives no strength in the words of the grammar."""
    associated: list[str]


class Face(_Columns):
    """One face: the columns of the labels table that describe it, under the same names."""

    face_index: int
    box_px: list[float]
    detection_score: float | None
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    action_units: dict[str, float | None]
    key_observations: str | None
    interpretation: str | None
    conclusion: str | None
    observations: list[Observation] | None
    dominant: str | None
    secondary: str | None
    expression: str | None
    confidence: float | None
    expression_scores: dict[str, float] | None
    label_only_agrees: bool | None
    au_precision: float | None
    au_recall: float | None
    outcome: str
    """`labelled` or `rejected`."""
    reject_reason: str | None


class Answer(_Message):
    """What POST /v1/expressions returns for one photograph."""

    photo_id: str
    """SHA-256 of the bytes, as in the table."""
    outcome: str
    """`labelled` where a face has a label, `no_face` where there is none to label, and `rejected` where the
    photograph could not be used or each of its faces was rejected."""
    reject_reason: str | None
    """Of a rejected photograph: why it could not be used, or why its first face was rejected."""
    faces: list[Face]
    """From the left, rejected ones too; empty without a face and where the photograph could not be used."""
    model_id: str
    prompt_id: str

    @classmethod
    def of(
        cls, rows: Sequence[Row], unusable: Reject | None, *, photo_id: str, model_id: str, prompt_id: str
    ) -> Self:
        """Put the answer together from the rows of a photograph's faces, or from why it has none."""
        outcome, reason = _outcome(rows, unusable)
        return cls(
            photo_id=photo_id,
            outcome=outcome,
            reject_reason=reason,
            faces=[Face.model_validate(row) for row in rows],
            model_id=model_id,
            prompt_id=prompt_id,
        )


def _outcome(rows: Sequence[Row], unusable: Reject | None) -> tuple[Outcome, str | None]:
    if unusable is not None:
        return Outcome.REJECTED, unusable
    if not rows:
        return Outcome.NO_FACE, None
    if all(row["outcome"] == Outcome.REJECTED for row in rows):
        return Outcome.REJECTED, rows[0]["reject_reason"]
    return Outcome.LABELLED, None
