"""Figures of the document into the shapes that the page draws as SVG: places, no words and no colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

WIDTH, HEIGHT = 420, 300
"""Of a plot with two axes, in the SVG's own units; the margins are inside."""
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 38


@dataclass(frozen=True)
class Whisker:
    """A figure on a line of 0..100, with its interval."""

    at: float
    low: float
    width: float


@dataclass(frozen=True)
class Dot:
    """One point of a plot, the interval above and below it, and how large it is drawn."""

    x: float
    y: float
    low_y: float
    high_y: float
    radius: float = 4.0


def whisker(figure: Mapping[str, Any], low: float = 0.0, high: float = 1.0) -> Whisker | None:
    """Place a figure between two ends; None where there is none. What lies beyond an end is put on it."""
    if figure["value"] is None:
        return None

    def place(value: float | None) -> float:
        inside = min(max(figure["value"] if value is None else value, low), high)
        share: float = 100 * (inside - low) / (high - low)
        return share

    start, end = place(figure["low"]), place(figure["high"])
    return Whisker(place(figure["value"]), start, end - start)


def span(figures: Sequence[Mapping[str, Any]]) -> float:
    """The distance from 0 within which all differences and their intervals lie, at least .05."""
    ends: list[float] = [f[end] for f in figures for end in ("low", "high") if f[end] is not None]
    return max([0.05, *map(abs, ends)])


def x_at(share: float) -> float:
    """Where a share of the horizontal axis is."""
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def y_at(share: float) -> float:
    """Where a share of the vertical axis is."""
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def reliability(bins: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Accuracy over confidence; the more faces a bin has, the larger its dot."""
    most = max((one["faces"] for one in bins), default=1)
    return [
        Dot(
            x_at(one["confidence"]),
            y_at(one["accuracy"]),
            y_at(one["accuracy"]),
            y_at(one["confidence"]),
            3 + 9 * (one["faces"] / most) ** 0.5,
        )
        for one in bins
    ]


def by_peak(micro: Sequence[Mapping[str, Any]], name: str) -> list[Dot]:
    """A figure over the peak intensity, on an axis of its logarithm from .08 to 1.1."""
    return [
        Dot(
            peak_x(float(one["value"])),
            y_at(one[name]["value"]),
            y_at(one[name]["low"] or 0.0),
            y_at(one[name]["high"] or 0.0),
        )
        for one in micro
        if one[name]["value"] is not None
    ]


def peak_x(peak: float) -> float:
    """Where a peak intensity is on the logarithmic axis."""
    return x_at((log(peak) - log(0.08)) / (log(1.1) - log(0.08)))


def line(dots: Sequence[Dot]) -> str:
    """The path through the dots."""
    return "M" + "L".join(f"{dot.x:.1f} {dot.y:.1f}" for dot in dots) if dots else ""


def band(dots: Sequence[Dot]) -> str:
    """The path round the dots' intervals."""
    if not dots:
        return ""
    upper = [f"{dot.x:.1f} {dot.high_y:.1f}" for dot in dots]
    lower = [f"{dot.x:.1f} {dot.low_y:.1f}" for dot in reversed(dots)]
    return "M" + "L".join(upper + lower) + "Z"
