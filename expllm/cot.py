"""A chain of thought as text and as data: the only copy of the grammar, writing and reading."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from expllm.errors import CallerError, Reject
from expllm.expressions import Expression, read_expression
from expllm.facs import (
    ACTION_UNITS,
    EXPECTED_FROM,
    NAMED_FROM,
    Intensities,
    Movement,
    Side,
    Strength,
    movements,
    strength,
)

KEY_OBSERVATIONS = "Key Observations"
INTERPRETATION = "Overall Emotional Interpretation"
CONCLUSION = "Conclusion"
EXPRESSION = "Expression"
NOT_VISIBLE = "The face cannot be made out, so no expression is named."
"""The whole answer where the picture shows no face that could be read, whatever the hints say."""

_CHAIN = (KEY_OBSERVATIONS, INTERPRETATION, CONCLUSION)
HEADS = (*_CHAIN, EXPRESSION)
"""What begins each part of an answer, between double asterisks."""

_MARKER = re.compile(rf"\*\*({'|'.join(HEADS)})(?::\*\*|\*\*:)")
_HEAD = re.compile(rf"^{_MARKER.pattern}", re.MULTILINE)

_EXPRESSIONS = {str(expression): expression for expression in Expression}
_DENIAL = re.compile(
    r"\b(?:no|not|nor|neither|nothing|never|without|rather than|instead of|absen\w+|lack\w*)\b"
)
_CLAUSE_END = re.compile(r"[,;:.]|\bbut\b")
_WORD = re.compile(r"[a-z]+")

_NUMBERS = {unit.name: unit.number for unit in ACTION_UNITS.values()}
_NAME = re.compile(rf"\b({'|'.join(sorted(_NUMBERS, key=len, reverse=True))})s?\b")
_STRENGTH = re.compile(rf"\b({'|'.join(Strength)})\b")
_SIDE_BEFORE = re.compile(r"(?<!on the )\b(left|right|one-sided)\b")
_SIDE_AFTER = re.compile(r"\bon the (left|right)\b|\b(?:on|of) (one) side\b")
_SIDES = {"left": Side.LEFT, "right": Side.RIGHT}
_ABSENT = re.compile(r"\b(?:absent|missing|not (?:seen|visible|present|there))\b")
_LISTED = re.compile(r"[\s,]*(?:and|or)?\s*(?:the|an?)?\s*")
_TURN = re.compile(rf"\b(?:an?|but|while|yet|though|although|however|{'|'.join(Strength)})\b")


@dataclass(frozen=True)
class ChainOfThought:
    """Why a face has its label: what is seen, what it means together, what follows, the label.

    Each section is one line of text without heads, stripped and not empty, and the conclusion names no other
    expression than the label alone; CallerError for anything else.
    """

    key_observations: str
    interpretation: str
    conclusion: str
    expression: Expression

    def __post_init__(self) -> None:
        for field in fields(self)[:3]:
            if not _is_section(getattr(self, field.name)):
                raise CallerError(f"{field.name} must be one stripped line of text without heads.")
        if _contradicts(self.conclusion, self.expression):
            raise CallerError(f"The conclusion must not name another expression than {self.expression}.")


@dataclass(frozen=True)
class Observation:
    """One movement as a text names it."""

    number: int
    side: Side | None
    """None where the text says that one side shows it, but not which."""
    strength: Strength | None
    """None where the text gives no strength in the words of Strength."""
    associated: tuple[Expression, ...]


@dataclass(frozen=True)
class Agreement:
    """How well a text names the movements measured on the face, each share 0..1."""

    precision: float | None
    """Share of the named movements that are there; None where the text names none that can be measured."""
    recall: float | None
    """Share of the movements a text must name that it names; None where there are none."""


def begin(head: str) -> str:
    """How the part of an answer begins that has this head."""
    return f"**{head}:**"


def render(chain: ChainOfThought, *, label_first: bool = False) -> str:
    """Write a chain of thought in the grammar that `parse` reads.

    `label_first` gives the order of the published code: the Expression line, then the three sections.
    """
    sections = (chain.key_observations, chain.interpretation, chain.conclusion)
    lines = [f"{begin(head)} {section}" for head, section in zip(_CHAIN, sections, strict=True)]
    label = f"{begin(EXPRESSION)} {chain.expression.word}"
    return "\n".join([label, *lines] if label_first else [*lines, label])


def parse(text: str, *, truncated: bool) -> ChainOfThought | Reject:
    """Read a model's answer; say why when it cannot be read, and guess nothing.

    Read are the four heads in order, the label-first order, and the published form of three heads, whose
    label is the one expression that the Conclusion names. NOT_VISIBLE is a reason, not a chain.

    Args:
        truncated: Whether the text reached the token limit; it is then never read.
    """
    if truncated:
        return Reject.TEXT_TRUNCATED
    if text.strip() == NOT_VISIBLE:
        return Reject.FACE_NOT_VISIBLE
    before, *parts = _HEAD.split(text)
    heads = tuple(parts[::2])
    sections = dict(zip(heads, map(_one_line, parts[1::2]), strict=True))
    if before.strip() or heads not in (_CHAIN, (*_CHAIN, EXPRESSION), (EXPRESSION, *_CHAIN)):
        return Reject.TEXT_MALFORMED
    expression = _label(sections)
    seen, meant, concluded = (sections[head] for head in _CHAIN)
    whole = all(map(_is_section, (seen, meant, concluded)))
    if expression is None or not whole or _contradicts(concluded, expression):
        return Reject.TEXT_MALFORMED
    return ChainOfThought(seen, meant, concluded, expression)


def mention(movement: Movement) -> str:
    """Name a movement as texts and hints do: strength, side if only one shows it, name."""
    side = "" if movement.side is Side.BOTH else f"{movement.side} "
    return f"{strength(movement.intensity)} {side}{ACTION_UNITS[movement.number].name}"


def observations(key_observations: str) -> tuple[Observation, ...]:
    """Read every movement that Key Observations names and does not deny, in the order of the text.

    A strength holds for the names after it, and expressions for the names before them, up to the next
    semicolon or full stop. A movement named twice counts as it was named first.
    """
    found: dict[tuple[int, Side | None], Observation] = {}
    for clause in re.split(r"[;.]", key_observations.lower()):
        for observation in _clause_observations(clause):
            found.setdefault((observation.number, observation.side), observation)
    return tuple(found.values())


def agreement(named: Iterable[Observation], intensities: Intensities) -> Agreement:
    """Compare the movements that a text names with those measured on the face.

    A named movement is there from NAMED_FROM on, on the side that the text gives, if it gives one; movements
    that the face cannot measure are left out. Movements from EXPECTED_FROM on must be named.
    """
    measured = {movement.number: movement for movement in movements(intensities, at_least=0)}
    claims = [o for o in named if o.number in measured]
    true = [_is_there(o, measured[o.number], intensities) for o in claims]
    expected = {m.number for m in measured.values() if m.intensity >= EXPECTED_FROM}
    recalled = expected & {o.number for o in claims}
    return Agreement(
        precision=sum(true) / len(true) if true else None,
        recall=len(recalled) / len(expected) if expected else None,
    )


def strength_agreement(named: Iterable[Observation], intensities: Intensities) -> float | None:
    """Share of the named movements that are there whose strength is at most one band off; None without."""
    there = {m.number: m for m in movements(intensities)}
    bands = list(Strength)
    near = [
        abs(bands.index(o.strength) - bands.index(strength(there[o.number].intensity))) <= 1
        for o in named
        if o.strength is not None and o.number in there
    ]
    return sum(near) / len(near) if near else None


def weighed(interpretation: str) -> tuple[Expression | None, Expression | None]:
    """Read the dominant and the secondary expression: the first two that the text names and does not deny."""
    dominant, secondary, *_ = (*dict.fromkeys(_named(interpretation)), None, None)
    return dominant, secondary


def _is_section(text: str) -> bool:
    return text.splitlines() == [text.strip()] and _MARKER.search(text) is None


def _one_line(text: str) -> str:
    return " ".join(filter(None, map(str.strip, text.splitlines())))


def _label(sections: dict[str, str]) -> Expression | None:
    if EXPRESSION in sections:
        return _EXPRESSIONS.get(sections[EXPRESSION].lower())
    named = set(_named(sections[CONCLUSION]))
    # The published form has no line that proves it whole: a full stop has to.
    return named.pop() if len(named) == 1 and sections[CONCLUSION].endswith((".", "!")) else None


def _contradicts(conclusion: str, expression: Expression) -> bool:
    named = set(_named(conclusion))
    return bool(named) and expression not in named


def _named(text: str) -> Iterator[Expression]:
    """Yield each expression that a clause of the text names without denying it."""
    for clause in _CLAUSE_END.split(text.lower()):
        denial = _DENIAL.search(clause)
        for word in _WORD.findall(clause[: denial.start()] if denial else clause):
            expression = read_expression(word)
            if expression is not None and word != "smile":  # a smile is a movement here, not yet a label
                yield expression


def _clause_observations(clause: str) -> list[Observation]:
    """Read one clause: the gap before a name has its strength or denies it, the one after it expressions."""
    gaps = _NAME.split(clause)[::2]
    numbers = [_NUMBERS[name] for name in _NAME.split(clause)[1::2]]
    associated, absent = _associated(gaps[1:]), _absent(gaps[1:])
    found = []
    band, denied = None, False
    for index, number in enumerate(numbers):
        before, after = gaps[index], gaps[index + 1]
        if any(_named(before)):
            band = None  # the expressions closed the group that the strength held for
        band = Strength(said[-1]) if (said := _STRENGTH.findall(before)) else band
        denied = _denies(before, denied)
        if not denied and not absent[index]:
            found.append(Observation(number, _side(before, after), band, associated[index]))
    return found


def _associated(gaps_after: list[str]) -> list[tuple[Expression, ...]]:
    """Give each name the expressions after it, or those of the next name in its group."""
    groups: list[tuple[Expression, ...]] = []
    following: tuple[Expression, ...] = ()
    for gap in reversed(gaps_after):
        following = tuple(dict.fromkeys(_named(gap))) or following
        groups.append(following)
    return groups[::-1]


def _denies(before: str, denied: bool) -> bool:
    before = _ABSENT.sub("", before)
    return bool(_DENIAL.search(before)) or (denied and not _TURN.search(before))


def _side(before: str, after: str) -> Side | None:
    said = _SIDE_BEFORE.findall(before) or ["".join(pair) for pair in _SIDE_AFTER.findall(after)]
    return _SIDES.get(said[-1]) if said else Side.BOTH


def _absent(gaps_after: list[str]) -> list[bool]:
    """Tell for each name whether the text after it says that it, or the list it is in, is not there."""
    absent, all_absent = False, []
    for gap in reversed(gaps_after):
        listed = _LISTED.fullmatch(gap) is not None
        absent = bool(_ABSENT.search(gap)) or (absent and listed)
        all_absent.append(absent)
    return all_absent[::-1]


def _is_there(claim: Observation, measured: Movement, intensities: Intensities) -> bool:
    column = ACTION_UNITS[measured.number].column
    sides = (intensities.get(f"{column}_left"), intensities.get(f"{column}_right"))
    if claim.side is Side.BOTH or None in sides:  # nothing is said about the side, or nothing is known
        return measured.intensity >= NAMED_FROM
    one_sided = measured.side is not Side.BOTH
    return measured.intensity >= NAMED_FROM and one_sided and claim.side in {measured.side, None}
