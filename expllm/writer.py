"""True movements and a label into the chain of thought that explains the one by the other."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from expllm import cot
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import ACTION_UNITS, Intensities, Movement, Side, associated, movements

SHOWN_FROM = 0.15
"""Movements are named from here on: halfway between those a text may name and those it must name."""
MOST_SHOWN = 11
"""No more movements than this are named, the strongest: more would not fit into prompt.MAX_ANSWER_TOKENS."""
AT_REST = 0.6
"""A face whose expressions all score below this is partly neutral, and wholly so where they score nothing."""
NEAR = 0.6
"""A runner-up with this share of the dominant expression's score is near."""
FAR = 0.3
"""A runner-up with less than this share is far behind."""

FAINT_BELOW = 0.4
"""An expression none of whose movements reaches this is called faint."""
LITTLE_BELOW = 0.25
"""Where no movement at all reaches this, the text says that little is to be seen."""

_PLURAL = {25: "parted lips", 43: "closed eyes"}
"""Movements whose names are no noun: what a sentence calls them."""


@dataclass(frozen=True)
class _Case:
    """What an interpretation has to weigh."""

    movements: tuple[Movement, ...]
    scores: dict[Expression, float]
    label: Expression
    rival: Expression
    """The best scored of the other expressions; it may score nothing."""

    @property
    def contested(self) -> bool:
        """Whether the movements speak more for another expression than for the label."""
        return self.scores[self.rival] > self.scores[self.label]

    @property
    def is_faint(self) -> bool:
        """Whether all that speaks for the label is weak."""
        return all(m.intensity < FAINT_BELOW for m in self.supporting(self.label))

    @property
    def shows_little(self) -> bool:
        """Whether all movements, of whatever expression, are hardly there."""
        return all(m.intensity < LITTLE_BELOW for m in self.movements)

    def supporting(self, expression: Expression) -> list[Movement]:
        """The movements associated with an expression, the one that adds most to its score first."""
        found = [m for m in self.movements if expression in _share(m)]
        return sorted(found, key=lambda m: -m.intensity * _share(m)[expression])


def write(
    intensities: Intensities,
    expression: Expression,
    rng: random.Random,
    *,
    shown_from: float = SHOWN_FROM,
) -> cot.ChainOfThought:
    """Explain a label by the movements of a face: every clause is true of the intensities.

    The MOST_SHOWN strongest movements are named, from `shown_from` on. Where they speak for another
    expression than the label, the text says so.
    """
    scores = classify(intensities, shown_from=shown_from)
    others = [other for other in EXPRESSIONS if other is not expression]
    rival = max(others, key=scores.__getitem__)
    case = _Case(shown(intensities, shown_from), scores, expression, rival)
    return cot.ChainOfThought(
        key_observations=_key_observations(case, rng),
        interpretation=_interpretation(case, rng),
        conclusion=_conclusion(case, rng),
        expression=expression,
    )


def classify(intensities: Intensities, *, shown_from: float = SHOWN_FROM) -> dict[Expression, float]:
    """Score each expression by the movements shown, 0 upwards; a face at rest scores AT_REST for neutral.

    Each movement divides its intensity among the expressions it is associated with, in shares that fall in
    equal steps from the most typical one to nothing. Neutral has what the best of them lacks of AT_REST.
    """
    scores = dict.fromkeys(EXPRESSIONS, 0.0)
    for movement in shown(intensities, shown_from):
        for expression, share in _share(movement).items():
            scores[expression] += movement.intensity * share
    scores[Expression.NEUTRAL] = max(0.0, AT_REST - max(scores.values()))
    return scores


def rule(intensities: Intensities) -> Expression:
    """The expression that `classify` scores highest."""
    scores = classify(intensities)
    return max(scores, key=scores.__getitem__)


def shown(intensities: Intensities, shown_from: float = SHOWN_FROM) -> tuple[Movement, ...]:
    """What a text names: the MOST_SHOWN strongest movements from `shown_from` on, in the table's order."""
    found = movements(intensities, shown_from)
    strongest = sorted(found, key=lambda m: -m.intensity)[:MOST_SHOWN]
    return tuple(m for m in found if m in strongest)


def _share(movement: Movement) -> dict[Expression, float]:
    found = associated(movement.number, movement.side)
    steps = range(len(found), 0, -1)
    return {expression: step / sum(steps) for expression, step in zip(found, steps, strict=True)}


def _named_expressions(movement: Movement, case: _Case) -> tuple[Expression, ...]:
    """Those of its expressions that the face is about, the label and its rival; else its most typical one."""
    own = associated(movement.number, movement.side)
    return tuple(e for e in (case.label, case.rival) if e in own) or own[:1]


_AT_REST = (
    "No movement stands out.",
    "The face is at rest; no movement stands out.",
    "Nothing moves that could be told; the face is at rest.",
    "Brows, eyes and mouth are at rest.",
)


def _key_observations(case: _Case, rng: random.Random) -> str:
    """List the movements from the top of the face down; neighbours with equal expressions share a bracket."""
    groups = groupby(case.movements, key=lambda m: _named_expressions(m, case))
    text = "; ".join(", ".join(map(cot.mention, group)) + _bracket(shared) for shared, group in groups)
    if not text:
        return rng.choice(_AT_REST)
    if case.shows_little:
        text = rng.choice(("Little is to be seen: ", "Hardly anything moves: ", "Close to rest: ")) + text
    if len(case.movements) == 1:
        return text + rng.choice((", nothing else stands out.", ", and no other movement stands out.", "."))
    return f"{text}."


def _bracket(expressions: tuple[Expression, ...]) -> str:
    return f" ({', '.join(expressions)})" if expressions else ""


def _interpretation(case: _Case, rng: random.Random) -> str:
    if case.label is Expression.NEUTRAL:
        text = _neutral(case, rng)
    elif case.contested:
        text = _contested(case, rng)
    else:
        text = f"{_evidence(case, case.label, rng)}; {_runner_up(case, rng)}"
    return f"{text[0].upper()}{text[1:]}."


_JOINTLY = ("together point to", "together suggest", "combine into", "jointly speak for", "add up to")


def _evidence(case: _Case, expression: Expression, rng: random.Random) -> str:
    """Say how the movements act together for an expression that at least one is associated with."""
    first, *more = case.supporting(expression)
    if more:
        return f"{_listed([first, *more], rng)} {rng.choice(_JOINTLY)} {expression}"
    if len(case.movements) == 1 or case.contested:
        alone = rng.choice(("alone", "by itself")) if first.number not in _PLURAL else "alone"
        return f"{_the(first)} {alone} {_verb('point', first)} to {expression}"
    other = max((m for m in case.movements if m is not first), key=lambda m: m.intensity)
    aside = f"in spite of {_the(other)}" if _share(other) else f"with {_the(other)} adding nothing"
    return f"{_the(first)} {_verb('point', first)} to {expression} {aside}"


def _listed(found: Sequence[Movement], rng: random.Random) -> str:
    """The first two of at least two movements, and sometimes a third."""
    if len(found) > 2 and rng.random() < 0.4:
        return f"{_the(found[0])}, {_the(found[1])} and {_the(found[2])}"
    return f"{_the(found[0])} and {_the(found[1])}"


def _runner_up(case: _Case, rng: random.Random) -> str:
    rival = case.rival
    if case.scores[rival] == 0:
        return rng.choice(_NO_RIVAL)
    ratio = case.scores[rival] / case.scores[case.label]
    if rival is Expression.NEUTRAL:
        return "as all is weak, neutral is near" if ratio >= NEAR else "neutral comes second"
    contrary = _contrary(case)
    if ratio >= NEAR:
        why = f"given {_the(contrary[0])}" if contrary else f"sharing {_the(case.supporting(rival)[0])}"
        return f"{rival} is near, {why}"
    if ratio < FAR:
        return f"{rival} is {rng.choice(('far', 'clearly', 'well'))} behind"
    second = f"{rival} {rng.choice(('comes second', 'is next', 'follows'))}"
    return f"{second}, for {_the(contrary[0])}" if contrary and rng.random() < 0.5 else second


_NO_RIVAL = (
    "nothing points elsewhere",
    "no other expression comes into question",
    "nothing on the face speaks against it",
)


def _contrary(case: _Case) -> list[Movement]:
    """The movements that speak for the rival and not for the label, the strongest first."""
    return [m for m in case.supporting(case.rival) if case.label not in _share(m)]


def _neutral(case: _Case, rng: random.Random) -> str:
    if not case.movements:
        why = ("no movement speaks for any expression", "there is nothing to weigh")
        return f"neutral is dominant, as {rng.choice(why)}"
    if case.scores[case.rival] == 0:
        return f"neutral is dominant, as {_together(case.movements)} to no expression"
    if case.contested:
        return f"neutral is possible, although {_evidence(case, case.rival, rng)}"
    near = case.scores[case.rival] >= NEAR * case.scores[Expression.NEUTRAL]
    how = "narrowly" if near else "clearly"
    return f"neutral {how} outweighs {case.rival}, as {_weakness(case.supporting(case.rival))}"


def _together(found: Sequence[Movement]) -> str:
    if len(found) == 1:
        return f"{_the(found[0])} alone {_verb('belong', found[0])}"
    return f"{_the(found[0])} and {_the(found[1])} together belong"


def _weakness(found: Sequence[Movement]) -> str:
    if len(found) == 1:
        return f"{_the(found[0])} alone {'are' if found[0].number in _PLURAL else 'is'} too weak"
    return f"{_the(found[0])} and {_the(found[1])} together are too weak"


def _contested(case: _Case, rng: random.Random) -> str:
    if not case.supporting(case.label):
        neutral = case.rival is Expression.NEUTRAL
        against = "the face looks neutral" if neutral else _evidence(case, case.rival, rng)
        return f"no movement speaks for {case.label}; {against}"
    evidence = _evidence(case, case.label, rng)
    if case.rival is Expression.NEUTRAL:
        return f"{evidence}, although the face is nearly neutral"
    contrary = _contrary(case)
    why = f"better, given {_the(contrary[0])}" if contrary else "even better"
    return f"{evidence}, although {case.rival} fits {why}"


def _the(movement: Movement) -> str:
    side = "" if movement.side is Side.BOTH else f"{movement.side} "
    return f"the {side}{_PLURAL.get(movement.number) or ACTION_UNITS[movement.number].name}"


def _verb(stem: str, subject: Movement) -> str:
    return stem if subject.number in _PLURAL else f"{stem}s"


_OPENINGS = ("", "Taken together, ", "So ", "Overall, ", "All in all, ")


def _conclusion(case: _Case, rng: random.Random) -> str:
    opening = "Even so, " if case.contested else rng.choice(_OPENINGS)
    text = f"{opening}{_says(case, rng)}."
    return text[0].upper() + text[1:]


def _says(case: _Case, rng: random.Random) -> str:
    if case.label is Expression.NEUTRAL:
        return rng.choice(("the face is neutral", "the expression is neutral"))
    if case.is_faint and case.supporting(case.label):
        faintly = (
            "the face faintly shows {}",
            "the face shows faint {}",
            "the face shows {}, but only faintly",
        )
        return rng.choice(faintly).format(case.label)
    return rng.choice(("the face shows {}", "the expression is {}")).format(case.label)
