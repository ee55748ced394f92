"""DATA's labelled faces -> instruction rows in OUTPUT: the job of the Exp-CoT Engine."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from expllm.config import BuildCotConfig
from expllm.datasets import LabelledFace
from expllm.distributed import datasets, instruction_parts, runs, storage
from expllm.distributed.instruction_parts import Parts
from expllm.distributed.progress import Counts, shown
from expllm.distributed.teach import Teaching
from expllm.distributed.teaching_pipeline import endpoint_key, taught
from expllm.errors import CallerError, RunError
from expllm.exp_cot import asked, endpoint, written
from expllm.exp_cot.instructions import TRIED_AGAIN, NoText, Row, face_key
from expllm.exp_cot.report import report
from expllm.models.checkpoint import Checkpoint, fixed, resolve
from expllm.models.face_reader import DETECTOR

REPORT = "report.json"
_UNANSWERED = (NoText.TEACHER_FAILED, NoText.UNPAID)


@dataclass(frozen=True)
class Summary:
    """What came of a run."""

    num_listed: int
    num_done: int
    """Faces that this run has settled or tried."""
    report: dict[str, Any]
    """expllm.exp_cot.report.report over all rows of OUTPUT."""


def run(source: str, output: str, config: BuildCotConfig) -> Summary:
    """Write chains of thought for the faces of `source` that have none, and the report on all of them.

    Raises:
        CallerError: the data set, the output or a setting is wrong.
        RunError: the spending limit is reached, or faces got no answer. What was written and paid for by then
            stays, and the next run does the rest.
    """
    model, teacher_id = _teacher(config)
    config = config.model_copy(update={"model": fixed(config.model)})
    checkpoint = resolve(config.model)
    made = {"teacher_id": teacher_id, "measured_by": f"{DETECTOR}+{checkpoint.model_id}"}
    dataset = datasets.open(source)
    faces = list(islice(_unique(dataset.faces), config.limit))
    storage.check_writable(output)
    rows = instruction_parts.read(output)
    _check_maker(rows, made, output)
    known = dict(zip(rows["face_key"].to_pylist(), rows["reject_reason"].to_pylist(), strict=True))
    todo = [face for face in faces if known.get(face_key(face), NoText.UNPAID) in TRIED_AGAIN]
    if not todo and storage.stat(storage.join(output, REPORT)) is not None:
        return Summary(len(faces), 0, report(rows.to_pylist(), dataset.rejected))
    run_id = runs.new_run_id()
    runs.write(output, run_id, "config", {"input": source, **config.model_dump()})
    runs.write(output, run_id, "versions", {**runs.versions(), **made})
    teaching = Teaching(
        config, model, config.cache or storage.join(output, "calls"), {**made, "run_id": run_id}
    )
    work = _Work(todo, known, _spent(rows), teaching, checkpoint)
    try:
        if todo:
            work.do(output)
    finally:
        told = report(instruction_parts.read(output).to_pylist(), dataset.rejected)
        storage.write(storage.join(output, REPORT), json.dumps(told, indent=2).encode() + b"\n")
    return Summary(len(faces), len(todo), told)


def _teacher(config: BuildCotConfig) -> tuple[str, str]:
    """The model that calls name, and the name of the teacher with all that shapes its texts."""
    steered = "-steered" if config.label_steered else ""
    if config.teacher == "writer":
        return "", f"writer-{written.writer_id()}{steered}"
    if config.teacher_model is None or (config.teacher == "endpoint" and config.teacher_url is None):
        needs = "teacher_url and teacher_model" if config.teacher == "endpoint" else "teacher_model, a folder"
        raise CallerError(f"teacher = {config.teacher!r} needs {needs}; set them by --set or --config")
    _check_spending(config)
    model = config.teacher_model
    if config.teacher == "vllm":
        from expllm.models.chat_engine import model_id  # Transformers: where a model is looked at alone

        model = model_id(config.teacher_model)
    else:
        endpoint.endpoint_of(config, endpoint_key(config))  # refuses what cannot be one
    return model, f"{model}-{asked.prompts_id(config.teacher_parameters)}{steered}"


def _check_spending(config: BuildCotConfig) -> None:
    if config.max_cost is None:
        return
    if config.teacher_model not in config.prices:
        raise CallerError(
            f"max_cost needs a price: write prices.{json.dumps(config.teacher_model)} = "
            "{ prompt = 1.0, answer = 4.0 } into --config, for a million tokens"
        )
    if not {"max_tokens", "max_completion_tokens"} & set(config.teacher_parameters):
        raise CallerError("max_cost needs max_tokens among teacher_parameters, to know what a call can cost")


def _unique(faces: Iterable[LabelledFace]) -> Iterator[LabelledFace]:
    """Each face once, however often the data set names it with the same label."""
    seen: set[str] = set()
    for face in faces:
        key = face_key(face)
        if key not in seen:
            seen.add(key)
            yield face


def _check_maker(rows: pa.Table, made: dict[str, str], output: str) -> None:
    for column in made:
        others = set(rows[column].unique().to_pylist()) - {made[column]}
        if others:
            raise CallerError(
                f"{output}: holds texts with another {column} ({min(others)}, now {made[column]}); "
                "name another OUTPUT"
            )


def _spent(rows: pa.Table) -> float:
    """What the settled faces have cost; the calls of the others count when they are made again."""
    settled = (row for row in rows.to_pylist() if row["reject_reason"] not in TRIED_AGAIN)
    return float(sum(row["cost"] or 0.0 for row in settled))


@dataclass(frozen=True)
class _Work:
    """What one run has to do."""

    faces: list[LabelledFace]
    known: Mapping[str, str | None]
    """Face -> why it has no text, as earlier runs found."""
    spent: float
    """What counts towards the spending limit already."""
    teaching: Teaching
    checkpoint: Checkpoint

    def do(self, output: str) -> None:
        """Have every face taught, and write the rows as they come."""
        counts, unanswered = Counts(len(self.faces)), list[Row]()
        with (
            shown(counts),
            Parts(output, self.teaching.made["run_id"]) as parts,
            closing(taught(self.faces, self.teaching, self.checkpoint, self.spent)) as batches,
        ):
            for rows in batches:
                parts.add(row for row in rows if _is_kept(row, self.known))
                unanswered += [row for row in rows if row["reject_reason"] in _UNANSWERED]
                counts.photographs += len(rows)
                counts.faces = counts.photographs
                counts.rejected += sum(row["text"] is None for row in rows)
                if any(row["reject_reason"] == NoText.UNPAID for row in rows):
                    break
        _check_answered(unanswered, len(self.faces), self.teaching.config.max_cost)


def _is_kept(row: Row, known: Mapping[str, str | None]) -> bool:
    """Whether a row says anything new: not what was not paid for, nor the same failure once more."""
    if row["reject_reason"] == NoText.UNPAID:
        return False
    return row["face_key"] not in known or known[row["face_key"]] != row["reject_reason"]


def _check_answered(unanswered: list[Row], num_faces: int, max_cost: float | None) -> None:
    unpaid = [row for row in unanswered if row["reject_reason"] == NoText.UNPAID]
    if unpaid:
        raise RunError(
            f"max_cost {max_cost:g} is reached: {unpaid[0]['faults'][0]}; all that was paid for is kept: "
            "raise it and run again to go on"
        )
    if unanswered:
        why = unanswered[-1]["faults"][0]
        raise RunError(f"{len(unanswered)} of {num_faces} faces got no answer ({why}); run again to try them")
