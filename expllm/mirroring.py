"""A text about a face -> the same text about the mirrored face: left and right change places."""

import re

_OTHER = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
_OTHER |= {other: word for word, other in _OTHER.items()}
# Where the word is no side it stays: "right away", "left out", "all right". Each exception holds for both
# words alike, so that mirroring twice gives the text back.
_SIDE = re.compile(
    rf"(?<!\ball )(?<!\bnothing )\b({'|'.join(_OTHER)})"
    r"(?:(?=wards?\b)|\b(?!\s+(?:away|behind|now|out|over)\b))"
)


def mirrored_text(text: str) -> str:
    """Swap left and right wherever a text names a side of the face; mirroring twice gives the text back."""
    return _SIDE.sub(lambda found: _OTHER[found[0]], text)
