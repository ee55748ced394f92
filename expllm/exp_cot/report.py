"""Rows of instruction data into what is said about them: acceptance, agreement, leakage, cost."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expllm import cot, metrics
from expllm.errors import Reject
from expllm.exp_cot.instructions import NoText, Row
from expllm.exp_cot.rounds import MOST_ROUNDS
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import EXPECTED_FROM, NAMED_FROM, movements

Report = dict[str, Any]
"""Plain values for JSON; a share of nothing is None."""


def report(rows: Sequence[Row], unusable: Mapping[str, int]) -> Report:
    """Say what came of faces, by rows of tables.INSTRUCTIONS; no rows give counts of 0 and shares of None.

    Args:
        unusable: Rows of the data set that are no labelled faces, by reason.

    Returns:
        Values for JSON: `accepted` are texts that passed, `forced` those that did not and are taken all the
        same; `blind_guess` judges the first round's guesses of all faces that were asked about.
    """
    texts = [(row, chain) for row in rows if (chain := _chain(row)) is not None]
    return {
        **_acceptance(rows),
        "rejected": dict(Counter(row["reject_reason"] for row in rows if row["text"] is None)),
        "unusable": {str(reason): count for reason, count in unusable.items()},
        "by_expression": {
            str(e): _acceptance([row for row in rows if row["expression"] == e]) for e in EXPRESSIONS
        },
        "blind_guess": _blind_guess(rows),
        "action_units": _agreement(texts),
        "label_leakage": _leakage(texts),
        **{count: sum(row[count] or 0 for row in rows) for count in _COUNTS},
        "cost": _total([row["cost"] for row in rows]),
        "teacher_id": rows[0]["teacher_id"] if rows else None,
        "measured_by": rows[0]["measured_by"] if rows else None,
    }


_COUNTS = ("calls", "prompt_tokens", "generated_tokens")


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report in a few lines."""
    guess, units, leakage = (report[part] for part in ("blind_guess", "action_units", "label_leakage"))
    money = "" if report["cost"] is None else f", cost {report['cost']:.4f}"
    return [
        f"{report['faces']} faces: {_acceptance_line(report)}{_reasons('without a text', report['rejected'])}"
        f"{_reasons('unusable rows of the data set', report['unusable'])}",
        *(f"  {e}: {_acceptance_line(one)}" for e, one in report["by_expression"].items() if one["faces"]),
        f"blind guess in round 1: accuracy {_share(guess['accuracy'])}, "
        f"balanced {_share(guess['balanced_accuracy'])}",
        f"movements: {_share(units['precision'])} of the named are there; of those there "
        f"{_share(units['recall'])} are named (from {EXPECTED_FROM}), {_share(units['recall_of_all'])} "
        f"(from {NAMED_FROM})",
        f"the label's word stands in {_share(leakage['key_observations'])} of Key Observations, "
        f"{_share(leakage['interpretation'])} of interpretations",
        f"{report['calls']} calls, {report['prompt_tokens']} prompt and {report['generated_tokens']} "
        f"generated tokens{money}",
    ]


def _chain(row: Row) -> cot.ChainOfThought | None:
    answer = None if row["text"] is None else cot.parse(row["text"], truncated=False)
    return None if isinstance(answer, Reject) else answer


def _acceptance(rows: Sequence[Row]) -> Report:
    """How many passed and in which round, among all but those that could not be asked about."""
    asked = [row for row in rows if row["rounds"] or row["reject_reason"] == NoText.TEACHER_FAILED]
    passed = Counter(row["rounds"] for row in asked if row["is_verified"])
    return {
        "faces": len(rows),
        "asked": len(asked),
        "accepted": passed.total(),
        "accepted_rate": passed.total() / len(asked) if asked else None,
        "accepted_in_round": {str(number): passed[number] for number in range(1, MOST_ROUNDS + 1)},
        "forced": sum(row["text"] is not None and not row["is_verified"] for row in asked),
    }


def _blind_guess(rows: Iterable[Row]) -> Report:
    pairs = [(Expression(row["expression"]), row["guesses"][0]) for row in rows if row["guesses"]]
    true = [label for label, _ in pairs]
    guessed = [guess and Expression(guess) for _, guess in pairs]
    return {
        "faces": len(pairs),
        "accuracy": metrics.accuracy(true, guessed),
        "balanced_accuracy": metrics.balanced_accuracy(true, guessed),
        "macro_f1": metrics.macro_f1(true, guessed),
        "recalls": {str(e): recall for e, recall in metrics.recalls(true, guessed).items()},
    }


def _agreement(texts: Iterable[tuple[Row, cot.ChainOfThought]]) -> Report:
    """Movements of all texts together: `recall` of those a text must name, `recall_of_all` of any it may."""
    true, expected, every = list[bool](), list[bool](), list[bool]()
    for row, chain in texts:
        claims = cot.observations(chain.key_observations)
        agreements = (cot.agreement([claim], row["action_units"]).precision for claim in claims)
        true += [precision == 1 for precision in agreements if precision is not None]
        named = {claim.number for claim in claims}
        expected += [m.number in named for m in movements(row["action_units"], EXPECTED_FROM)]
        every += [m.number in named for m in movements(row["action_units"], NAMED_FROM)]
    return {
        "named": len(true),
        "precision": _rate(true),
        "recall": _rate(expected),
        "recall_of_all": _rate(every),
    }


def _leakage(texts: Sequence[tuple[Row, cot.ChainOfThought]]) -> Report:
    """Share of the texts in which the label's word stands before the conclusion."""
    sections = ("key_observations", "interpretation")
    return {
        section: _rate([_holds(getattr(chain, section), chain.expression) for _, chain in texts])
        for section in sections
    }


def _holds(text: str, expression: Expression) -> bool:
    return re.search(rf"\b{expression}\b", text.lower()) is not None


def _rate(claims: Sequence[bool]) -> float | None:
    return sum(claims) / len(claims) if claims else None


def _total(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _acceptance_line(one: Mapping[str, Any]) -> str:
    rounds = ", ".join(
        f"{count} in round {number}" for number, count in one["accepted_in_round"].items() if count
    )
    forced = f", {one['forced']} forced" if one["forced"] else ""
    return (
        f"{one['accepted']} accepted of {one['asked']} asked about{f' ({rounds})' if rounds else ''}{forced}"
    )


def _reasons(what: str, reasons: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"; {what}: {told}" if told else ""
