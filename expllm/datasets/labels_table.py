"""Rows of our own labels table -> labelled faces."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from expllm import cot
from expllm.datasets import fields
from expllm.datasets.files import Files
from expllm.datasets.labelled import Dataset, Rejected, Row, check_split, gather
from expllm.errors import CallerError, Outcome, Reject
from expllm.expressions import Expression

COLUMNS = (
    *("photo_uri", "box_px", "expression", "outcome", "reject_reason"),
    *("key_observations", "interpretation", "conclusion"),
)
"""What is read of a row."""
_REASONS = {str(reason): reason for reason in Reject}


def of_labels(source: str, rows: Iterable[Mapping[str, Any]], *, split: str | None = None) -> Dataset:
    """The labelled faces among a labels table's rows, with the texts as descriptions.

    Its action units were measured and are not the truth, so none are given. Photographs without a face are
    left out; what the table rejected counts as rejected here.

    Args:
        rows: With the columns COLUMNS.

    Raises:
        CallerError: no face is labelled.
    """
    check_split(split)
    return gather("labels table", source, _rows(rows), split)


def _rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    files = Files(Path("/"))  # photographs are named by their whole path, or by a URI
    for row in rows:
        if row["outcome"] == Outcome.LABELLED:
            yield fields.assemble(
                expression=fields.worded(row["expression"]),
                photo=files.find(row["photo_uri"]),
                box_px=fields.box_px(row["box_px"]),
                description=_description(row),
            )
        elif row["outcome"] == Outcome.REJECTED:
            yield Rejected(_REASONS.get(row["reject_reason"], Reject.MALFORMED_ROW))


def _description(row: Mapping[str, Any]) -> str | Reject | None:
    seen, meant, concluded = (row[name] for name in ("key_observations", "interpretation", "conclusion"))
    expression = fields.worded(row["expression"])
    if None in (seen, meant, concluded) or not isinstance(expression, Expression):
        return None
    try:
        return cot.render(cot.ChainOfThought(seen, meant, concluded, expression))
    except CallerError:  # a text that was changed by hand, and no longer follows the grammar
        return Reject.TEXT_MALFORMED
