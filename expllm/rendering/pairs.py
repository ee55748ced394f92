"""Draws pairs of faces that differ in one action unit: the same person, scene and all other movements."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import ACTION_UNITS, COLUMNS, NAMED_FROM, movements
from expllm.rendering import expressions
from expllm.rendering.expressions import Prototype
from expllm.rendering.person import Person
from expllm.rendering.render import Rendered, render_face, table_row
from expllm.rendering.scene import Scene

SHOWN_FROM = 0.5
"""How strong the one movement is at least, where it is there; in the other picture it is at 0."""
_MOST_OTHERS_DIFFER = 0.1
"""A pair whose other movements differ by more than this is drawn anew."""
_PARTING = frozenset({10, 16, 25, 26, 27})
"""Movements that part the lips: without one of them, lips part (25) less as well."""
_TRIES = 40


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures of one face, without and with one movement."""

    number: int
    """The action unit that differs."""
    absent: tuple[Rendered, Prototype]
    present: tuple[Rendered, Prototype]
    person: Person


def draw(seed: int, size_px: int = 224) -> Pair:
    """Draw a pair; the same seed gives the same pair.

    The seeds go through the expressions in turn. One strong movement of the face is taken away in the other
    picture; a face at rest is given one. What is drawn in vain, because other movements would change as well
    or the one would not be seen, is drawn again.
    """
    expression = EXPRESSIONS[seed % len(EXPRESSIONS)]
    person = Person.sample(seed)
    scene = Scene.sample(seed)
    for attempt in count():
        rng = np.random.default_rng([seed, 21, attempt])
        shown = expressions.sample(expression, int(rng.integers(2**31)))
        number = _number(shown, rng)
        if number is None:
            continue
        if expression is Expression.NEUTRAL:
            shown = _with(shown, number, float(rng.uniform(SHOWN_FROM + 0.05, 1)))
        hidden = _with(shown, number, 0.0)
        present = render_face(person, shown.action_units, scene, size_px)
        absent = render_face(person, hidden.action_units, scene, size_px)
        if _differ_in_one(absent.truth.action_units, present.truth.action_units, number):
            return Pair(number, (absent, hidden), (present, shown), person)
        if attempt == _TRIES:
            raise ValueError(f"no pair of seed {seed} differs in one movement alone")
    raise AssertionError("the loop above ends by itself")


def rows(pair: Pair, index: int) -> list[dict[str, Any]]:
    """The two faces of a pair as rows of tables.PAIRS: first the one without the movement."""
    return [
        {
            **table_row(file_name(index, is_present), 0, pair.person, prototype, rendered.truth),
            "pair": index,
            "number": pair.number,
            "is_present": is_present,
        }
        for is_present, (rendered, prototype) in ((False, pair.absent), (True, pair.present))
    ]


def file_name(index: int, is_present: bool) -> str:
    """The picture's file."""
    return f"pair_{index:06d}_{'with' if is_present else 'without'}.jpg"


def _number(prototype: Prototype, rng: np.random.Generator) -> int | None:
    """One of the face's strong movements, or any where it has none; None where it has no strong one."""
    if prototype.expression is Expression.NEUTRAL:
        return int(rng.choice(list(ACTION_UNITS)))
    intensities = dict.fromkeys(COLUMNS, 0.0) | prototype.action_units
    strong = [movement.number for movement in movements(intensities, SHOWN_FROM)]
    return int(rng.choice(strong)) if strong else None


def _with(prototype: Prototype, number: int, intensity: float) -> Prototype:
    """The same face with one movement, on both sides, as strong as told."""
    unit = ACTION_UNITS[number]
    is_sided = unit.column not in COLUMNS or unit.sided
    own = {f"{unit.column}_left", f"{unit.column}_right"} if is_sided else {unit.column}
    others = {
        column: value for column, value in prototype.action_units.items() if column not in own | {unit.column}
    }
    return replace(prototype, action_units=others | dict.fromkeys(own, intensity))


def _differ_in_one(absent: Mapping[str, float], present: Mapping[str, float], number: int) -> bool:
    column = ACTION_UNITS[number].column
    follows = {"au25"} if number in _PARTING else set()
    others = [c for c in COLUMNS if not c.startswith(column) and c not in follows]
    is_shown = any(m.number == number and m.intensity >= SHOWN_FROM for m in movements(present))
    is_gone = all(absent[c] < NAMED_FROM / 2 for c in COLUMNS if c.startswith(column))
    return is_shown and is_gone and all(abs(absent[c] - present[c]) <= _MOST_OTHERS_DIFFER for c in others)
