"""INPUT -> rows in OUTPUT's labels table, each photograph exactly once: the label job."""

from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from expllm.config import LabelConfig
from expllm.distributed import listing, manifest, pipeline, runs, storage, table
from expllm.distributed.progress import Counts, shown
from expllm.distributed.results import Gathering
from expllm.distributed.store_errors import ObjectFailed, ObjectGone
from expllm.errors import CallerError, Outcome, RunError
from expllm.labels import Row
from expllm.manifest import Shard, abandoned, attempts, known, pending, seal, settled, shard_size, shards
from expllm.models.checkpoint import Checkpoint, fixed, resolve
from expllm.models.face_reader import DETECTOR
from expllm.prompt import prompt_id
from expllm.tables import LABELS

_JUDGED_FROM = 1000
"""Rows after which a run with too many rejects stops before its end."""
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
    config = config.model_copy(update={"model": fixed(config.model)})
    checkpoint = resolve(config.model)
    maker = Maker(checkpoint.model_id, prompt_id(hints=config.hints), DETECTOR)
    photographs = seal(listing.list_photographs(source)).slice(0, config.limit)
    _check_readable(photographs)
    storage.check_writable(output)
    labels = table.create(output)
    done = table.keys(labels)
    made = _made_by(maker, done, output, relabel=relabel)
    left = abandoned(manifest.promised(output, source), photographs, done)
    todo = pa.concat_tables([pending(photographs, settled(made)), left]).slice(0, config.limit)
    summary = Summary(runs.new_run_id(), photographs.num_rows, todo.num_rows)
    if todo.num_rows or not manifest.is_sealed(output, photographs):
        manifest.write(output, summary.run_id, source, photographs)
    if todo.num_rows:
        settings = {"input": source, "relabel": relabel, **config.model_dump()}
        runs.write(output, summary.run_id, "config", settings)
        runs.write(output, summary.run_id, "versions", {**runs.versions(), **asdict(maker)})
        shard = config.shard_size or shard_size(todo.num_rows)
        replaced, tried = known(todo, done["photo_uri"]), attempts(made, todo)
        work = _Work(list(shards(todo, shard)), replaced, tried, maker, config)
        work.do(checkpoint, table.Committer(output, labels), summary)
        runs.write(output, summary.run_id, "metrics", vars(summary))
        summary.judge(config.max_reject_rate)
    return summary


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

    shards: list[Shard]
    replaced: set[str]
    """Photographs whose old rows give way to the new."""
    tried: dict[str, int]
    """How often each photograph that is tried again has been tried."""
    maker: Maker
    config: LabelConfig

    def do(self, checkpoint: Checkpoint, committer: table.Committer, summary: Summary) -> None:
        """Answer every shard and commit each as soon as it is whole."""
        gathering = Gathering(
            {shard.shard_id: shard.photographs.num_rows for shard in self.shards}, checkpoint.temperature
        )
        counts = Counts(summary.num_pending)
        with shown(counts), closing(pipeline.answers(self.shards, checkpoint, self.config)) as answers:
            for result in answers:
                rows = gathering.add(result)
                if rows is not None:
                    self._commit(rows, result["shard_id"], committer, summary)
                    counts.rejected = summary.outcomes[Outcome.REJECTED]
                    if summary.outcomes.total() >= _JUDGED_FROM:
                        summary.judge(self.config.max_reject_rate)
                counts.photographs, counts.faces = gathering.num_photographs, gathering.num_faces
        summary.elapsed_s = counts.elapsed_s
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
