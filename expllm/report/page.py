"""Turns counts, a few rows and what the runs left into the page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expllm.errors import Outcome, Reject
from expllm.expressions import EXPRESSIONS
from expllm.facs import ACTION_UNITS
from expllm.report import frame, gallery
from expllm.report.tally import CONFIDENCE_BINS, Tally

REASONS: dict[str, str] = {
    Reject.UNREADABLE_OBJECT: "the store does not give the bytes",
    Reject.MISSING_OBJECT: "the photograph is not there",
    Reject.DENIED_OBJECT: "the store denies the photograph",
    Reject.CHANGED_OBJECT: "it changed after it was listed",
    Reject.EMPTY: "the file is empty",
    Reject.UNKNOWN_FORMAT: "the bytes are not JPEG, PNG or WebP",
    Reject.ANIMATED: "the file is an animation",
    Reject.TOO_SMALL: "the photograph is too small",
    Reject.TOO_LARGE: "the photograph has too many pixels",
    Reject.TRUNCATED: "the file ends early",
    Reject.CORRUPT: "the file is damaged",
    Reject.DECODER_DIED: "decoding crashed or took too long",
    Reject.TEXT_TRUNCATED: "the answer reached its length limit",
    Reject.TEXT_MALFORMED: "the answer does not follow the grammar",
    Reject.FACE_NOT_VISIBLE: "the model cannot make the face out",
    Reject.GENERATION_FAILED: "the engine gave no answer",
    Reject.UNKNOWN_LABEL: "the label is none of the eight expressions",
    Reject.UNDECIDED: "no label has more than half of the votes",
    Reject.MISSING_FILE: "the picture is not there",
    Reject.MALFORMED_ROW: "the row cannot be read",
    Reject.MALFORMED_BOX: "the box is missing, or none",
    Reject.MALFORMED_UNITS: "the action units are no numbers from 0 to 1",
    Reject.MALFORMED_PIXELS: "the pixels are no square of numbers from 0 to 255",
}
"""What each reject_reason means."""


@dataclass(frozen=True)
class Run:
    """What one run left beside the table."""

    run_id: str
    documents: Mapping[str, Any]
    """File name without its ending -> the JSON document."""

    def find(self, key: str) -> Any:
        """The first value under a key, at whatever depth of whichever document; None where there is none."""
        return next((value for path, value in _leaves(self.documents) if path[-1] == key), None)

    def facts(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Each document's name and what it says, as the page shows it."""
        return [(name, facts(document)) for name, document in self.documents.items()]


def render(
    tally: Tally,
    rows: Sequence[Mapping[str, Any]],
    runs: Sequence[Run],
    *,
    title: str,
    model_card: Mapping[str, Any] | None = None,
    thumbnails: Mapping[tuple[str, int], str] | None = None,
) -> str:
    """Write the report: one HTML text that needs no network and no script. Equal input gives equal text.

    Args:
        rows: The labelled rows that the gallery shows, as dicts.
        runs: In the order in which the page names them.
        title: The data set's name, as a person would write it.
        model_card: The checkpoint's card.json, where there is one.
        thumbnails: (photo_uri, face_index) -> data URI; without it the page holds no pixels.
    """
    templates = frame.environment("expllm.report", count=_count, share=_share, number=_number)
    return templates.get_template("report.html").render(
        css=frame.style(),
        title=title,
        tally=tally,
        outcomes=dict(tally.values("outcome")),
        reasons=[(reason, REASONS.get(reason, ""), rows) for reason, rows in tally.values("reject_reason")],
        expressions=EXPRESSIONS,
        classes=_classes(tally),
        bins=_bins(tally),
        naming=_naming(tally),
        profile=_profile(tally),
        speeds=_speeds(runs),
        runs=[(run.run_id, run.facts()) for run in runs],
        model_card=facts(model_card or {}),
        cards=gallery.cards(rows, thumbnails or {}),
        has_thumbnails=bool(thumbnails),
    )


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lay a JSON document out as (words of its path, value as text), in its own order and without nulls."""
    known = ((path, value) for path, value in _leaves(document) if value is not None)
    return [(" · ".join(path).replace("_", " "), _plain(value)) for path, value in known]


def _leaves(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from _leaves(value, (*path, str(key)))
    elif path:
        yield path, document


def _plain(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        words = list(map(_plain, value))
        return ("\n" if any(" " in word for word in words) else ", ").join(words)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    return value if isinstance(value, str) else json.dumps(value)


def _classes(tally: Tally) -> list[tuple[str, int, float, float, float | None]]:
    """(expression, faces, share of the labelled faces, share of the largest class, mean confidence)."""
    faces = dict(tally.values("expression"))
    labelled = tally.counts["outcome", Outcome.LABELLED] or 1
    largest = max(faces.values(), default=1)
    return [
        (str(e), n := faces.get(e, 0), n / labelled, n / largest, float(total) / n if n else None)
        for e, total in zip(EXPRESSIONS, tally.confidence_by_expression, strict=True)
    ]


def _bins(tally: Tally) -> list[tuple[float, float, int, float]]:
    """(from, to, faces, height against the fullest bin)."""
    highest = max(int(tally.confidence.max()), 1)
    return [
        (i / CONFIDENCE_BINS, (i + 1) / CONFIDENCE_BINS, int(n), int(n) / highest)
        for i, n in enumerate(tally.confidence)
    ]


def _naming(tally: Tally) -> list[tuple[int, str, int, int, int]]:
    """(number, name, faces both named and measured, only named, only measured); the most frequent first."""
    rows = [
        (unit.number, unit.name, int(both), int(named), int(measured))
        for unit, (both, named, measured) in zip(ACTION_UNITS.values(), tally.naming, strict=True)
    ]
    return sorted((row for row in rows if sum(row[2:])), key=lambda row: (-sum(row[2:]), row[0]))


def _profile(tally: Tally) -> list[tuple[str, list[tuple[int, str, float | None]]]]:
    """Mean intensity of each action unit for each expression that occurs."""
    means = tally.intensity / np.maximum(tally.measured, 1)
    return [
        (
            str(expression),
            [
                (unit.number, unit.name, float(mean) if known else None)
                for unit, mean, known in zip(ACTION_UNITS.values(), row, measured, strict=True)
            ],
        )
        for expression, row, measured in zip(EXPRESSIONS, means, tally.measured, strict=True)
        if measured.any()
    ]


def _speeds(runs: Sequence[Run]) -> dict[str, float]:
    """Faces and written tokens per second of the last run that measured them."""
    for run in reversed(runs):
        faces_per_s, tokens, seconds = map(run.find, ("faces_per_s", "generated_tokens", "elapsed_s"))
        if faces_per_s and tokens and seconds:
            return {"faces_per_s": float(faces_per_s), "tokens_per_s": tokens / seconds}
    return {}


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _share(share: float | None) -> str:
    """A share in per cent, never rounded up to all or down to nothing."""
    if share is None:
        return "–"
    if share in (0, 1):
        return f"{100 * share:.0f} %".replace(" ", "\u202f")
    return f"{min(max(100 * share, 0.1), 99.9):.1f}\u202f%"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 100 else f"{value:.3g}"
