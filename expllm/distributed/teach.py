"""Measured faces -> rows of instruction data: each face goes through the rounds with the teacher."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import SecretStr

from expllm.config import BuildCotConfig, Price
from expllm.distributed.paid_calls import PaidCalls, ask_engines
from expllm.errors import Reject, RunError
from expllm.exp_cot import endpoint, rounds
from expllm.exp_cot.asked import ChatTeacher
from expllm.exp_cot.calls import Complete, Meter, OutOfMoney, TeacherFailed
from expllm.exp_cot.instructions import NoText, Row, explained_row, rejected_row
from expllm.exp_cot.rounds import Teacher
from expllm.exp_cot.written import WriterTeacher
from expllm.expressions import Expression
from expllm.tables import INSTRUCTIONS

_DEAD_AFTER = 20
"""Faces in a row without an answer after which the teacher counts as dead, and the run ends."""


@dataclass(frozen=True)
class Teaching:
    """What a teaching process is given."""

    config: BuildCotConfig
    model: str
    """What stands for the teacher's model in a call, and so in its key in the cache."""
    cache: str
    made: Mapping[str, str]
    """The columns that say who made the rows: teacher_id, measured_by, run_id."""
    key: SecretStr | None = None
    """The endpoint's key."""
    purse: Any = None
    """Ray actor of calls.Purse, where there is a spending limit."""
    engines: tuple[Any, ...] = field(default_factory=tuple)
    """Ray actors of ChatEngine, where the teacher is one."""

    @property
    def price(self) -> Price | None:
        """What the teacher's tokens cost, where that is known."""
        return self.config.prices.get(self.config.teacher_model or "")

    def complete(self) -> Complete:
        """What asks the teacher's model: cached, and paid for."""
        if self.config.teacher == "vllm":
            ask = ask_engines(self.engines)
        else:
            key = self.key.get_secret_value() if self.key else None
            ask = partial(endpoint.complete, endpoint.endpoint_of(self.config, key))
        return PaidCalls(ask, self.cache, self.purse, self.price)


class Teach:
    """Has texts written about several faces at a time; one face without an answer costs its own row."""

    def __init__(self, teaching: Teaching) -> None:
        self._teaching = teaching
        self._complete = None if teaching.config.teacher == "writer" else teaching.complete()
        self._threads = ThreadPoolExecutor(1 if self._complete is None else teaching.config.calls_at_once)
        self._failed_in_a_row = 0

    def __call__(self, measured: pa.Table) -> pa.Table:
        """Rows of encode.FEATURES into tables.INSTRUCTIONS, in the same order."""
        rows = list(self._threads.map(self._row, measured["known"].to_pylist()))
        self._check_alive(rows)
        return pa.Table.from_pylist(rows, schema=INSTRUCTIONS)

    def _row(self, text: str) -> Row:
        known = {**json.loads(text), **self._teaching.made}
        if "reject_reason" in known:
            return rejected_row(known, _reason(known["reject_reason"]))
        if known["expression"] is None:
            return rejected_row(known, NoText.NO_LABEL)
        meter, price = Meter(), self._teaching.price
        steered = self._teaching.config.label_steered
        label, teacher = Expression(known["expression"]), self._teacher(known["face_key"], meter)
        try:
            explained = rounds.explain(known["action_units"], label, teacher, label_steered=steered)
        except OutOfMoney as error:
            return rejected_row(known, NoText.UNPAID, faults=[str(error)])
        except TeacherFailed as error:
            return rejected_row(known, NoText.TEACHER_FAILED, faults=[str(error)], meter=meter, price=price)
        return explained_row(known, explained, meter, price)

    def _teacher(self, face_key: str, meter: Meter) -> Teacher:
        if self._complete is None:
            return WriterTeacher(face_key)
        counted = meter.counting(self._complete)
        return ChatTeacher(counted, self._teaching.model, self._teaching.config.teacher_parameters)

    def _check_alive(self, rows: list[Row]) -> None:
        for row in rows:
            if row["rounds"]:
                self._failed_in_a_row = 0
            elif row["reject_reason"] == NoText.TEACHER_FAILED:
                self._failed_in_a_row += 1
                if self._failed_in_a_row == _DEAD_AFTER:
                    why = row["faults"][0]
                    raise RunError(f"{why}: {_DEAD_AFTER} faces in a row got no answer; run again to go on")


def _reason(value: str) -> Reject | NoText:
    return NoText(value) if value in set(NoText) else Reject(value)
