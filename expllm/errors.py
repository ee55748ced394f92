"""The errors a run can end with, and the reasons a photograph or face can leave it.

ExpllmError
├── CallerError      the caller can mend it: one line, exit code 2
└── RunError         the run failed or its result is wrong: one line, exit code 1
"""

from enum import StrEnum


class ExpllmError(Exception):
    """A failure whose message is one line that a user can act on."""

    exit_code = 1


class CallerError(ExpllmError):
    """A wrong input, option or configuration; the message names it and says how to mend it."""

    exit_code = 2


class RunError(ExpllmError):
    """A run that could not be finished, or whose output is not what the manifest promises."""


class Reject(StrEnum):
    """Why a photograph or a face has no label, or a row of a data set is not used.

    The value is what the table's reject_reason holds.
    """

    UNREADABLE_OBJECT = "unreadable_object"
    """The store answers with an error, or the bytes break off."""
    MISSING_OBJECT = "missing_object"
    """The store no longer has the photograph, or never had it."""
    DENIED_OBJECT = "denied_object"
    """The store does not let these credentials have the photograph."""
    CHANGED_OBJECT = "changed_object"
    """The photograph has other bytes than it was listed with; the next run takes them."""
    EMPTY = "empty"
    UNKNOWN_FORMAT = "unknown_format"
    """The bytes are not JPEG, PNG or WebP, whatever the name says."""
    ANIMATED = "animated"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    """More bytes, or more pixels in the header, than a photograph may have; nothing was decoded."""
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    DECODER_DIED = "decoder_died"
    """Decoding ended its process or ran past its time."""
    TEXT_TRUNCATED = "text_truncated"
    """The model's answer reached its token limit."""
    TEXT_MALFORMED = "text_malformed"
    """The model's answer does not follow the grammar."""
    FACE_NOT_VISIBLE = "face_not_visible"
    """The model says that it cannot make the face out."""
    GENERATION_FAILED = "generation_failed"
    """The engine gave no answer for this face."""
    UNKNOWN_LABEL = "unknown_label"
    """A data set's label is none of the eight expressions: another word or number, or that there is none."""
    UNDECIDED = "undecided"
    """No label has more than half of the votes."""
    MISSING_FILE = "missing_file"
    """A data set names a picture that is not there."""
    MALFORMED_ROW = "malformed_row"
    """A row that cannot be read: its number of columns, its split, or a value that is no number."""
    MALFORMED_BOX = "malformed_box"
    """A face's box is missing where its list must have one, or is no box."""
    MALFORMED_UNITS = "malformed_units"
    """Action units that are no numbers from 0 to 1, or not as many as there must be."""
    MALFORMED_PIXELS = "malformed_pixels"
    """Pixels inside a CSV that are no square of numbers from 0 to 255."""


TRANSIENT = frozenset(
    {
        *(Reject.UNREADABLE_OBJECT, Reject.MISSING_OBJECT, Reject.DENIED_OBJECT),
        *(Reject.DECODER_DIED, Reject.GENERATION_FAILED),
    }
)
"""What may have been the moment's fault and not the photograph's: a later run tries again."""


class Outcome(StrEnum):
    """How a photograph or face ended; each has exactly one."""

    LABELLED = "labelled"
    NO_FACE = "no_face"
    REJECTED = "rejected"
