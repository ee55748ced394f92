"""Measured movements, or none, into the complete prompt text: batch, training and serving use the same."""

import json

from expllm import cot
from expllm.checksums import short_sha256
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS, Intensities, movements

IMAGE = "<image>"
"""Stands once in every prompt, where the face's features go."""
BEGIN = "<|im_start|>"
"""Begins every turn."""
END = "<|im_end|>"
"""Ends every turn, so also the answer."""
MAX_ANSWER_TOKENS = 160
"""An answer this long is taken as cut off; whole chains of thought stay well below."""

_START = f"{BEGIN}user\n{IMAGE}\n"
_ANSWER = f"{END}\n{BEGIN}assistant\n"
_EXPLAIN = "Explain the expression."
_ASK_LABEL = "Name the expression."


def explain(hints: Intensities | None) -> str:
    """Ask for a chain of thought; `hints` are the movements measured on the face, None to give none."""
    return _START + words(hints) + _ANSWER


def ask_label(hints: Intensities | None) -> str:
    """Ask for the label alone: the next token is the first one of a value of `label_words`.

    It shares with `explain` everything up to the question.
    """
    return _START + words(hints, label_only=True) + _ANSWER + cot.begin(cot.EXPRESSION)


def words(hints: Intensities | None, *, label_only: bool = False) -> str:
    """What is asked beside the picture, as a chat that frames its turns itself sends it."""
    return _hints(hints) + (_ASK_LABEL if label_only else _EXPLAIN)


def label_words() -> dict[Expression, str]:
    """The text that follows `ask_label`, for each expression; in SmolLM2 their first tokens all differ."""
    return {expression: f" {expression.word}" for expression in EXPRESSIONS}


def _hints(intensities: Intensities | None) -> str:
    """One line of all movements from facs.NAMED_FROM on, faint ones too, in words, in the table's order."""
    if intensities is None:
        return ""
    found = ", ".join(map(cot.mention, movements(intensities)))
    return f"Measured: {found or 'no movement'}.\n"


def _hash() -> str:
    """Hash what shapes prompts and answers: frame, questions, names, sides, bands, heads, refusal, limit."""
    levels = [dict.fromkeys(COLUMNS, level / 20) for level in range(21)]
    one_sided = {column: float(column.endswith("_left")) for column in COLUMNS}
    shapes = [explain(hints) + ask_label(hints) for hints in (None, one_sided, *levels)]
    chain = [cot.render(cot.ChainOfThought("-", "-", "-", expression)) for expression in EXPRESSIONS]
    return short_sha256(json.dumps([shapes, chain, cot.NOT_VISIBLE, MAX_ANSWER_TOKENS]))


_HASH = _hash()


def prompt_id(*, hints: bool) -> str:
    """Short hash that changes with the prompts or the form of answers, and says where hints are left out."""
    return _HASH if hints else f"{_HASH}-no-hints"
