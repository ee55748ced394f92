"""Turns one labelled row into what its card in the gallery shows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expllm import cot
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import ACTION_UNITS, EXPECTED_FROM, Intensities, Side, movements, strength
from expllm.report.face_drawing import Stroke, draw

_WORDS = re.compile(
    r"\b(?:(?P<movement>"
    + "|".join(sorted((unit.name for unit in ACTION_UNITS.values()), key=len, reverse=True))
    + r")|(?P<expression>"
    + "|".join(EXPRESSIONS)
    + r"))\b",
    re.IGNORECASE,
)
_NUMBERS = {unit.name: unit.number for unit in ACTION_UNITS.values()}

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the full-size photograph."""


@dataclass(frozen=True)
class Bar:
    """One action unit that was measured on the face."""

    number: int
    name: str
    side: str
    """The person's own side, empty where both show it."""
    intensity: float
    strength: str
    mark: str
    """named, missed (it should be in the text and is not) or empty (too faint to have to be)."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text, and how it is set off."""

    text: str
    kind: str = ""
    """named, unsupported (the face does not show it), the value of an expression, or empty."""


@dataclass(frozen=True)
class Locator:
    """Where the face is in its photograph, of which only the faces are known."""

    width_px: float
    height_px: float
    box_px: Box
    others_px: tuple[Box, ...]


@dataclass(frozen=True)
class Card:
    """One face of the gallery."""

    name: str
    uri: str
    face_index: int
    expression: str
    confidence: float | None
    """None where the question for the label alone was not answered."""
    scores: tuple[tuple[str, float], ...]
    """The eight expressions, the most probable first; empty where the row has none."""
    bars: tuple[Bar, ...]
    sections: tuple[tuple[str, tuple[Piece, ...]], ...]
    unsupported: tuple[str, ...]
    label_only_agrees: bool | None
    weighed: tuple[str, ...]
    pose: tuple[float | None, float | None, float | None]
    drawing: tuple[Stroke, ...]
    locator: Locator | None
    thumbnail: str | None
    """A data URI."""


def cards(rows: Sequence[Mapping[str, Any]], thumbnails: Mapping[tuple[str, int], str]) -> list[Card]:
    """Make the cards of labelled rows, in the order of photo_uri and face_index.

    Args:
        rows: Rows of the labels table as dicts; the others of a photograph say where its other faces are.
        thumbnails: (photo_uri, face_index) -> data URI; a face without one is drawn.
    """
    boxes: dict[str, list[Box]] = {}
    for row in rows:
        if row["box_px"] is not None:
            boxes.setdefault(row["photo_uri"], []).append(tuple(row["box_px"]))
    ordered = sorted(rows, key=lambda row: (row["photo_uri"], row["face_index"]))
    return [_card(row, boxes.get(row["photo_uri"], []), thumbnails) for row in ordered]


def _card(
    row: Mapping[str, Any],
    boxes: list[Box],
    thumbnails: Mapping[tuple[str, int], str],
) -> Card:
    intensities: Intensities = row["action_units"] or {}
    named = [_observation(observation) for observation in row["observations"] or ()]
    wrong = [o for o in named if cot.agreement([o], intensities).precision == 0]
    place = (row["photo_uri"], row["face_index"])
    return Card(
        name=row["photo_uri"].rsplit("/", 1)[-1],
        uri=row["photo_uri"],
        face_index=row["face_index"],
        expression=row["expression"],
        confidence=row["confidence"],
        scores=_scores(row["expression_scores"]),
        bars=_bars(intensities, {o.number for o in named}),
        sections=_sections(row, {o.number for o in wrong}),
        unsupported=tuple(_spoken(o) for o in wrong),
        label_only_agrees=row["label_only_agrees"],
        weighed=tuple(filter(None, (row["dominant"], row["secondary"]))),
        pose=(row["yaw_deg"], row["pitch_deg"], row["roll_deg"]),
        drawing=draw(intensities),
        locator=None if row["box_px"] is None else _locator(tuple(row["box_px"]), boxes),
        thumbnail=thumbnails.get(place),
    )


def _observation(stored: Mapping[str, Any]) -> cot.Observation:
    side = Side(stored["side"]) if stored["side"] else None
    return cot.Observation(stored["au"], side, None, ())


def _spoken(observation: cot.Observation) -> str:
    name = ACTION_UNITS[observation.number].name
    one_sided = observation.side not in (None, Side.BOTH)
    return f"{observation.side} {name}" if one_sided else name


def _scores(stored: Mapping[str, float | None] | None) -> tuple[tuple[str, float], ...]:
    known = [(str(e), score) for e in EXPRESSIONS if stored and (score := stored[e]) is not None]
    return tuple(sorted(known, key=lambda item: -item[1]))


def _bars(intensities: Intensities, named: set[int]) -> tuple[Bar, ...]:
    found = [
        Bar(
            number=movement.number,
            name=ACTION_UNITS[movement.number].name,
            side="" if movement.side is Side.BOTH else str(movement.side),
            intensity=movement.intensity,
            strength=str(strength(movement.intensity)),
            mark=_mark(movement.number in named, movement.intensity),
        )
        for movement in movements(intensities)
    ]
    return tuple(sorted(found, key=lambda bar: -bar.intensity))


def _mark(is_named: bool, intensity: float) -> str:
    if is_named:
        return "named"
    return "missed" if intensity >= EXPECTED_FROM else ""


def _sections(row: Mapping[str, Any], wrong: set[int]) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
    titled = (
        (cot.KEY_OBSERVATIONS, row["key_observations"]),
        (cot.INTERPRETATION, row["interpretation"]),
        (cot.CONCLUSION, row["conclusion"]),
    )
    return tuple((title, tuple(_pieces(text or "", wrong))) for title, text in titled)


def _pieces(text: str, wrong: set[int]) -> Iterable[Piece]:
    """Set off the movements and the expressions that a text names."""
    end = 0
    for found in _WORDS.finditer(text):
        yield Piece(text[end : found.start()])
        yield Piece(found[0], _kind(found, wrong))
        end = found.end()
    yield Piece(text[end:])


def _kind(found: re.Match[str], wrong: set[int]) -> str:
    if found["expression"]:
        return str(Expression(found["expression"].lower()))
    return "unsupported" if _NUMBERS[found["movement"].lower()] in wrong else "named"


def _locator(box_px: Box, boxes: list[Box]) -> Locator:
    """Frame the faces of a photograph, with the same margin on opposite sides: its size is not known."""
    return Locator(
        width_px=max(box[2] for box in boxes) + max(0.0, min(box[0] for box in boxes)),
        height_px=max(box[3] for box in boxes) + max(0.0, min(box[1] for box in boxes)),
        box_px=box_px,
        others_px=tuple(box for box in boxes if box != box_px),
    )
