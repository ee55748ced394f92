"""INPUT -> rows in OUTPUT's labels table, each photograph exactly once: the label job."""

from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from expllm.config import LabelConfig
from expllm.distributed import listing, manifest, pipeline, runs, storage, table
from expllm.distributed.forget import unforgotten
from expllm.distributed.progress import Counts, shown
from expllm.distributed.results import Gathering
from expllm.distributed.store_errors import ObjectFailed, ObjectGone
from expllm.errors import CallerError, Outcome, RunError
from expllm.labels import Row
from expllm.manifest import Shard, abandoned, attempts, known, pending, seal, settled, shard_size, shards
from expllm.models.checkpoint import Checkpoint, fixed, resolve
from expllm.models.face_reader import DETECTOR
from expllm.planning import Budget
from expllm.prompt import prompt_id
from expllm.tables import LABELS

_JUDGED_FROM = 1000
"""Rows after which a run with too many rejects stops before its end."""
_PAGE = 1000
"""Objects on a page of a listing."""
_PUTS_PER_COMMIT = 3
"""The rows' file, the commit, and what delta-rs asks besides."""
_PROBED = 8
"""Photographs of which one must be readable, or a run whose every read is denied would reject them all."""


@dataclass(frozen=True)
class Maker:
    """What makes a row; rows of another maker in the same table are refused or replaced."""

    model_id: str
    prompt_id: str
    detector: str


@dataclass
class Summary:
    """What came of a run; written as metrics.json."""

    run_id: str
    num_listed: int
    num_pending: int
    photographs: int = 0
    faces: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    outcomes_again: Counter[str] = field(default_factory=Counter)
    """Those of `outcomes` whose photograph was tried before."""
    reject_reasons: Counter[str] = field(default_factory=Counter)
    expressions: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    generated_tokens: int = 0
    elapsed_s: float = 0.0
    faces_per_s: float = 0.0
    marks: list[tuple[int, float]] = field(default_factory=list)
    """How far the run was at which second."""

    def add(self, rows: list[Row]) -> None:
        """Count one shard's rows."""
        self.photographs += len({row["photo_uri"] for row in rows})
        self.faces += sum(row["face_index"] is not None for row in rows)
        self.outcomes.update(row["outcome"] for row in rows)
        self.outcomes_again.update(row["outcome"] for row in rows if row["attempts"] > 1)
        self.reject_reasons.update(row["reject_reason"] for row in rows if row["reject_reason"])
        self.expressions.update(row["expression"] for row in rows if row["expression"])
        self.prompt_tokens += sum(row["prompt_tokens"] or 0 for row in rows)
        self.generated_tokens += sum(row["generated_tokens"] or 0 for row in rows)

    @property
    def line(self) -> str:
        """The run in one line."""
        if not self.num_pending:
            return f"nothing to do: all {self.num_listed} photographs have their rows already"
        ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"{self.photographs} photographs, {self.faces} faces: {ended} ({self.faces_per_s:.2f} faces/s)"

    def judge(self, max_reject_rate: float) -> None:
        """Fail the run where too many rows were rejected.

        What is tried again was rejected in an earlier run: it counts among all that are listed.
        """
        first = self.outcomes - self.outcomes_again
        rows = self.outcomes.total()
        for outcomes, among in ((first, first.total()), (self.outcomes, max(rows, self.num_listed))):
            if outcomes[Outcome.REJECTED] > max_reject_rate * among:
                reasons = ", ".join(
                    f"{reason} {count}" for reason, count in self.reject_reasons.most_common()
                )
                raise RunError(
                    f"{outcomes[Outcome.REJECTED]} of {among} rows were rejected, "
                    f"more than max_reject_rate {max_reject_rate}: {reasons}"
                )


def run(source: str, output: str, config: LabelConfig, *, relabel: bool = False) -> Summary:
    """Label what is new or changed in `source`, add the rows to `output`, and tell what came of it.

    Args:
        relabel: Also label anew what another model, prompt or detector has labelled.

    Raises:
        CallerError: the input, the output or a setting is wrong; nothing was labelled.
        RunError: the run broke off, another run writes to the output, or too many rows were rejected.
            What is in the table by then stays, and the next run does the rest.
    """
    listed = seal(listing.list_photographs(source))
    return run_listed(listed, source, output, config, relabel=relabel)


def dry_run(source: str, output: str, config: LabelConfig, *, relabel: bool = False) -> Summary:
    """What `run` would have to do, for the same arguments; nothing is written, nothing is labelled."""
    listed = seal(listing.list_photographs(source))
    _check_readable(listed)
    labels, checkpoint = table.open_table(output), resolve(config.model)
    due = _Due.of(listed, source, output, config, checkpoint, labels, relabel=relabel)
    return Summary("", due.photographs.num_rows, due.todo.num_rows)


def run_listed(
    listed: pa.Table, source: str, output: str, config: LabelConfig, *, relabel: bool = False
) -> Summary:
    """Label photographs that were listed of `source` as `run` does; schema MANIFEST, sorted by URI."""
    config = config.model_copy(update={"model": fixed(config.model)})
    checkpoint = resolve(config.model)
    _check_readable(listed)
    storage.check_writable(output)
    labels = table.create(output)
    due = _Due.of(listed, source, output, config, checkpoint, labels, relabel=relabel)
    summary = Summary(runs.new_run_id(), due.photographs.num_rows, due.todo.num_rows)
    if due.todo.num_rows or not manifest.is_sealed(output, due.photographs):
        manifest.write(output, summary.run_id, source, due.photographs)
    if due.todo.num_rows:
        settings = {"input": source, "relabel": relabel, **config.model_dump()}
        runs.write(output, summary.run_id, "config", settings)
        runs.write(output, summary.run_id, "versions", {**runs.versions(), **asdict(due.maker)})
        _Work.of(due, source, config).do(checkpoint, table.Committer(output, labels), summary)
        runs.write(output, summary.run_id, "metrics", vars(summary))
        summary.judge(config.max_reject_rate)
    return summary


def requests(source: str, photographs: int) -> dict[str, int]:
    """About how many S3 requests, by kind, labelling so many photographs of `source` takes."""
    if not storage.is_s3(source) or not photographs:
        return {}
    commits = -(-photographs // shard_size(photographs))
    return {"list": -(-photographs // _PAGE), "get": photographs, "put": commits * _PUTS_PER_COMMIT}


@dataclass(frozen=True)
class _Due:
    """What a run answers for, and what of it is still to be done."""

    maker: Maker
    photographs: pa.Table
    todo: pa.Table
    done: pa.Table
    """The keys of the table as it is."""
    made: pa.Table
    """Those of `done` that this maker made."""

    @classmethod
    def of(
        cls,
        listed: pa.Table,
        source: str,
        output: str,
        config: LabelConfig,
        checkpoint: Checkpoint,
        labels: DeltaTable | None,
        *,
        relabel: bool,
    ) -> Self:
        maker = Maker(checkpoint.model_id, prompt_id(hints=config.hints), DETECTOR)
        photographs = unforgotten(output, listed).slice(0, config.limit)
        done = table.keys(labels)
        made = _made_by(maker, done, output, relabel=relabel)
        left = abandoned(manifest.promised(output, source), photographs, done)
        todo = pa.concat_tables([pending(photographs, settled(made)), left]).slice(0, config.limit)
        return cls(maker, photographs, todo, done, made)


def _check_readable(photographs: pa.Table) -> None:
    """Refuse an input that can be listed and not read; in S3 these are two rights."""
    failed = None
    for uri in photographs["photo_uri"].slice(0, _PROBED).to_pylist():
        try:
            storage.check_readable(uri)
            return
        except ObjectGone:
            continue
        except ObjectFailed as error:
            failed = error
    if failed is not None:
        raise failed


def _made_by(maker: Maker, done: pa.Table, output: str, *, relabel: bool) -> pa.Table:
    """The rows of `done` that this maker made; refuse those of another unless they are to be replaced."""
    made: dict[str, str] = asdict(maker)
    is_own = pa.array([True] * done.num_rows, pa.bool_())
    for column, value in made.items():
        is_same = pc.fill_null(pc.equal(done[column], value), False)
        others = pc.unique(done[column].filter(pc.invert(is_same))).to_pylist()
        if others and not relabel:
            raise CallerError(
                f"{output}: holds labels made with another {column} ({others[0]}, now {value}); "
                "add --relabel to replace them, or name another OUTPUT"
            )
        is_own = pc.and_(is_own, is_same)
    return done.filter(is_own)


@dataclass(frozen=True)
class _Work:
    """What one run has to do."""

    source: str
    shards: list[Shard]
    replaced: set[str]
    """Photographs whose old rows give way to the new."""
    tried: dict[str, int]
    """How often each photograph that is tried again has been tried."""
    maker: Maker
    config: LabelConfig

    @classmethod
    def of(cls, due: _Due, source: str, config: LabelConfig) -> Self:
        size = config.shard_size or shard_size(due.todo.num_rows)
        replaced, tried = known(due.todo, due.done["photo_uri"]), attempts(due.made, due.todo)
        return cls(source, list(shards(due.todo, size)), replaced, tried, due.maker, config)

    def do(self, checkpoint: Checkpoint, committer: table.Committer, summary: Summary) -> None:
        """Answer every shard and commit each as soon as it is whole."""
        gathering = Gathering(
            {shard.shard_id: shard.photographs.num_rows for shard in self.shards}, checkpoint.temperature
        )
        counts = Counts(summary.num_pending)
        budget = Budget(pipeline.machines(self.config), self.config.prices, self.config.max_cost)
        with shown(counts), closing(pipeline.answers(self.shards, checkpoint, self.config)) as answers:
            for result in answers:
                rows = gathering.add(result)
                if rows is not None:
                    self._commit(rows, result["shard_id"], committer, summary)
                    counts.rejected = summary.outcomes[Outcome.REJECTED]
                    budget.check(counts.elapsed_s, requests(self.source, summary.photographs))
                    if summary.outcomes.total() >= _JUDGED_FROM:
                        summary.judge(self.config.max_reject_rate)
                counts.count(gathering.num_photographs, gathering.num_faces)
        summary.elapsed_s, summary.marks = counts.elapsed_s, counts.marks
        summary.faces_per_s = summary.faces / max(summary.elapsed_s, 1e-9)
        if gathering.num_unfinished:
            raise RunError(f"{gathering.num_unfinished} shards were not finished; run again")

    def _commit(self, rows: list[Row], shard_id: str, committer: table.Committer, summary: Summary) -> None:
        made = {**asdict(self.maker), "run_id": summary.run_id, "labelled_at": datetime.now(UTC)}
        rows = [{**row, **made, "attempts": self.tried.get(row["photo_uri"], 0) + 1} for row in rows]
        full = pa.Table.from_pylist(rows, schema=LABELS)
        replaced = self.replaced & {row["photo_uri"] for row in rows}
        committer.commit(full, replaced=replaced, metadata={"shard_id": shard_id, "run_id": summary.run_id})
        summary.add(rows)
