"""The HTTP endpoint's words: what a client sends and what it gets back."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

MAX_BODY_BYTES = 32 * 1024 * 1024
"""A larger request is refused with 413 before it is read."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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


class Observation(_Message):
    """One movement that the text names."""

    au: int
    side: str
    strength: str
    associated: list[str]


class Face(_Message):
    """One face: the columns of the labels table that describe it, under the same names."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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
    reject_reason: str | None


class Answer(_Message):
    """What POST /v1/expressions returns for one photograph."""

    photo_id: str
    """SHA-256 of the bytes, as in the table."""
    outcome: str
    """`labelled`, `no_face` or `rejected`: the photograph's own, whatever its faces' are."""
    reject_reason: str | None
    faces: list[Face]
    """From the left; empty unless the outcome is `labelled`."""
    model_id: str
    prompt_id: str


def digest(key: str) -> str:
    """What replicas hold of an API key: its SHA-256, so that no key stands in the cluster's state."""
    return hashlib.sha256(key.strip().encode()).hexdigest()


def is_allowed(authorization: str | None, digests: Sequence[str]) -> bool:
    """Whether a request's Authorization header holds one of the keys; without keys, everyone may ask."""
    if not digests:
        return True
    scheme, _, key = (authorization or "").partition(" ")
    matches = [hmac.compare_digest(digest(key), known) for known in digests]
    return scheme.lower() == "bearer" and any(matches)
