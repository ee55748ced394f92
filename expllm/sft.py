"""One labelled face, its movements and its text into training examples: prompt, answer, tokens, loss mask."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from expllm import cot, prompt, writer
from expllm.expressions import Expression
from expllm.facs import ACTION_UNITS, COLUMNS, EXPECTED_FROM, Intensities, movements

HINTS_DROPPED_RATE = 0.35
"""Share of the examples without hints, so that the model also works without."""
HINTS_FALSE_RATE = 0.15
"""Share of the examples whose hints have one movement too many or too few, so that it trusts the picture."""
CHANGED_RATE = 0.15
"""Share of the chains that begin with other Key Observations than the face's own, so that the label follows
what the chain says."""
LABEL_FIRST_RATE = 0.05
"""Share of the chains that begin with the label, so that a model can be asked for both orders."""
IGNORED = -100
"""The target of tokens that do not count towards the loss."""
SEEN_WEIGHT = 4.0
"""How much a token that says what is seen counts towards the loss: one of Key Observations or of the label.
The rest of a text follows from these, or is a choice among wordings that nothing on the face decides."""
_SEEN = (cot.KEY_OBSERVATIONS, cot.EXPRESSION)


@dataclass(frozen=True)
class Example:
    """What the model is given, and what it has to write; the answer stands without the end of its turn."""

    prompt: str
    """The question, and after it the first words of an answer that is begun for the model."""
    answer: str
    hints_given: bool


def examples(
    intensities_true: Intensities | None,
    intensities_measured: Intensities | None,
    expression: Expression,
    rng: random.Random,
    *,
    chain: cot.ChainOfThought | None = None,
    count: int = 1,
    label_only_rate: float = 0.25,
    label_first: bool = False,
) -> list[Example]:
    """Draw training examples of one face; answers are its chain, or are written from the true intensities.

    Args:
        intensities_true: None where they are not known: a face without a chain is then asked for its label
            alone.
        intensities_measured: What hints are drawn from; None where nothing was measured.
        chain: What was written about the face before.
        label_only_rate: Share of the examples that ask for the label alone.
        label_first: Whether all chains of thought have the label before them, as in the published code.
    """
    drawn = [_hints(intensities_measured, rng) for _ in range(count)]
    if chain is None and intensities_true is None:
        return [_label_example(hints, expression) for hints in drawn]
    # A chain that was given holds of what was measured; with nothing known, there is nothing to change in it.
    known = intensities_measured or {} if intensities_true is None else intensities_true
    draw_chain = _label_first if label_first else _drawn_chain
    return [
        _label_example(hints, expression)
        if rng.random() < label_only_rate
        else draw_chain(hints, known, chain, expression, rng)
        for hints in drawn
    ]


def refusal(intensities_measured: Intensities | None, rng: random.Random) -> Example:
    """An example whose picture shows no face: whatever hints say, the answer is that none can be made out."""
    hints = _hints(intensities_measured, rng)
    return Example(prompt.explain(hints), cot.NOT_VISIBLE, hints is not None)


def tokenise(example: Example, encode: Callable[[str], list[int]]) -> tuple[list[int], list[int]]:
    """Turn an example into input ids and targets; the prompt's targets are IGNORED.

    Args:
        encode: Text -> token ids, adding none of its own. It is called for the prompt and the answer apart,
            as they are apart when the model is used.
    """
    asked = encode(example.prompt)
    answered = encode(example.answer + prompt.END)
    return asked + answered, [IGNORED] * len(asked) + answered


def weights(example: Example, encode: Callable[[str], list[int]]) -> list[float]:
    """How much each token that `tokenise` gives counts towards the loss; those of the prompt count nothing.

    Args:
        encode: as `tokenise` takes it; a head starts a token of its own.
    """
    asked, answer = len(encode(example.prompt)), example.answer
    begun = [(0, head) for head in cot.HEADS if example.prompt.endswith(cot.begin(head))]
    places = [(answer.find(cot.begin(head)), head) for head in cot.HEADS]
    parts = sorted([*(begun or [(0, "")]), *(part for part in places if part[0] >= 0)], key=itemgetter(0))
    starts = [len(encode(answer[:place])) for place, _ in parts]
    counts = [end - start for start, end in pairwise([*starts, len(encode(answer + prompt.END))])]
    counted = [SEEN_WEIGHT if head in _SEEN else 1.0 for _, head in parts]
    return [0.0] * asked + [w for w, count in zip(counted, counts, strict=True) for _ in range(count)]


def _label_example(hints: Intensities | None, expression: Expression) -> Example:
    return Example(prompt.ask_label(hints), prompt.label_words()[expression], hints is not None)


def _chain_example(
    hints: Intensities | None, chain: cot.ChainOfThought, *, label_first: bool = False
) -> Example:
    return Example(prompt.explain(hints), cot.render(chain, label_first=label_first), hints is not None)


def _label_first(
    hints: Intensities | None,
    intensities: Intensities,
    given: cot.ChainOfThought | None,
    expression: Expression,
    rng: random.Random,
) -> Example:
    chain = given or writer.write(intensities, expression, rng)
    return _chain_example(hints, chain, label_first=True)


def _drawn_chain(
    hints: Intensities | None,
    intensities: Intensities,
    given: cot.ChainOfThought | None,
    expression: Expression,
    rng: random.Random,
) -> Example:
    """The face's own chain as the model writes it, or one that is begun for it with the label or a change."""
    draw = rng.random()
    changed = _changed(intensities, rng) if draw < CHANGED_RATE else None
    if changed is not None:
        chain = writer.write(changed, writer.rule(changed), rng)
        return _begun(_chain_example(hints, chain), cot.begin(cot.INTERPRETATION))
    chain = given or writer.write(intensities, expression, rng)
    if draw > 1 - LABEL_FIRST_RATE:
        return _begun(_chain_example(hints, chain, label_first=True), cot.begin(cot.EXPRESSION))
    return _chain_example(hints, chain)


def _begun(example: Example, head: str) -> Example:
    """The example with its answer given up to the end of a head."""
    given, head, rest = example.answer.partition(head)
    return Example(example.prompt + given + head, rest, example.hints_given)


def _changed(intensities: Intensities, rng: random.Random) -> Intensities | None:
    """One movement removed or swapped for another, so that the rule names another expression.

    None where no single change does so. What comes has the strength of what goes.
    """
    named = {movement.number: movement.intensity for movement in writer.shown(intensities)}
    others = [unit.number for unit in ACTION_UNITS.values() if unit.associated and unit.number not in named]
    changes = [(gone, come) for gone in named for come in (None, *others)]
    own = writer.rule(intensities)
    for gone, come in rng.sample(changes, k=len(changes)):
        changed = _with(intensities, gone, 0.0)
        if come is not None:
            changed = _with(changed, come, named[gone])
        if writer.rule(changed) is not own:
            return changed
    return None


def _hints(measured: Intensities | None, rng: random.Random) -> Intensities | None:
    draw = rng.random()
    if measured is None or draw < HINTS_DROPPED_RATE:
        return None
    return _falsified(measured, rng) if draw < HINTS_DROPPED_RATE + HINTS_FALSE_RATE else measured


def _falsified(measured: Intensities, rng: random.Random) -> Intensities:
    """Remove one movement, or add one that is not there, on both sides."""
    present = [movement.number for movement in movements(measured)]
    removed = bool(present) and rng.random() < 0.5
    absent = [number for number in ACTION_UNITS if number not in present]
    number = rng.choice(present if removed or not absent else absent)
    return _with(measured, number, 0.0 if number in present else rng.uniform(EXPECTED_FROM, 1))


def _with(intensities: Intensities, number: int, intensity: float) -> Intensities:
    """The intensities with one movement at another, on both sides."""
    column = ACTION_UNITS[number].column
    return {**intensities, **{c: intensity for c in COLUMNS if c.startswith(column)}}
