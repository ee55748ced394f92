"""The training loop: batches and a loss in, trained parameters and metrics out; the same for every model."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from expllm.errors import CallerError, RunError
from expllm.models.training_checkpoints import Progress, Snapshot, resume
from expllm.models.workers import Workers

Metrics = dict[str, float]
Report = Callable[[int, Metrics], None]
Batch = Mapping[str, Tensor]
Save = Callable[[Snapshot], None]


class Task(Protocol):
    """What is trained: a model whose call on a batch gives the loss and what to report."""

    model: nn.Module
    num_examples: int | None
    """None for a stream, which each worker reads in an order of its own: `batches` is then given places in
    it, counted from the training's beginning."""

    def parameter_groups(self) -> list[tuple[list[str], float]]:
        """Names of the trained parameters, with the highest learning rate of each group."""
        ...

    def batches(
        self, indices: Int64[np.ndarray, " batch"], rng: np.random.Generator
    ) -> Iterable[tuple[Batch, float]]:
        """A step's examples in parts: the model's keyword arguments, and the part's share of the loss.

        All chance comes from `rng`.
        """
        ...


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    batch_size: int
    """Examples a step, over all workers."""
    warmup_steps: int = 50
    weight_decay: float = 0.02
    """Of matrices alone."""
    adam_betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    seed: int = 0
    limit_s: float | None = None
    """Most seconds of training, resumed parts included; the learning rate falls to nothing in this time."""
    save_every_s: float = 300.0
    report_every: int = 20


def train(
    task: Task,
    schedule: Schedule,
    folder: Path,
    report: Report,
    *,
    device: str = "cpu",
    workers: Workers | None = None,
    save: Save | None = None,
) -> Progress:
    """Train until the steps or the time are used up; continue from the newest checkpoint in `folder`.

    The order of the examples and all chance depend on the seed and the step alone, so a resumed training
    sees what an uninterrupted one would have seen. The newest checkpoint stays in the folder.

    Args:
        save: Called by every worker to keep a checkpoint; by default the first writes it into `folder`.

    Raises:
        CallerError: a time limit is asked of several workers, the batch cannot be divided, the checkpoint is
            of another model, or one cannot be written: all workers raise it together.
        RunError: the workers do not see the same checkpoint in their folders.
    """
    workers = workers or Workers()
    _check(schedule, workers)
    model = _ready(task.model, device, workers)
    optimizer = _optimizer(task, schedule)
    progress = _resumed(folder, task.model, optimizer, workers)
    keep = _Keeper(task.model, optimizer, schedule, workers, save or _first_saves(folder, workers))
    means = _Means(report, schedule.report_every)
    while not _is_done(schedule, progress):
        start_s = time.monotonic()
        _set_learning_rate(optimizer, _rate(schedule, progress))
        metrics = _step(task, model, optimizer, schedule, progress.step, device, workers)
        progress.step += 1
        progress.elapsed_s += time.monotonic() - start_s
        means.add(metrics, progress)
        keep.if_due(progress)
    keep.now(progress)
    return progress


def _ready(model: nn.Module, device: str, workers: Workers) -> nn.Module:
    if not workers.in_step:  # else it may be too large for one device
        model.to(device)
    return workers.wrap(model.train())


def _resumed(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, workers: Workers) -> Progress:
    progress = workers.all_do(partial(resume, folder, model, optimizer))
    # A shared folder may show one machine what it showed a minute ago: from there on each worker would learn
    # something else, and at the end one would wait for the other for ever.
    if workers.most(progress.step) != -workers.most(-progress.step):
        raise RunError(f"the workers see different checkpoints in {folder}: start again in a minute")
    return progress


def _first_saves(folder: Path, workers: Workers) -> Save:
    return lambda snapshot: snapshot.save(folder) if workers.rank == 0 else None


class _Keeper:
    """Writes checkpoints in time; what one worker cannot write, all hear of."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        workers: Workers,
        save: Save,
    ) -> None:
        self._model, self._optimizer, self._save = model, optimizer, save
        self._every_s, self._workers = schedule.save_every_s, workers
        self._saved_s, self._step = time.monotonic(), -1

    def if_due(self, progress: Progress) -> None:
        """Write a checkpoint if the first worker's clock says so."""
        is_due = self._workers.rank == 0 and time.monotonic() - self._saved_s > self._every_s
        if self._workers.most(int(is_due)):
            self.now(progress)

    def now(self, progress: Progress) -> None:
        """Write a checkpoint, unless this step has one."""
        if progress.step == self._step:
            return
        snapshot = Snapshot.of(self._model, self._optimizer, progress)
        self._workers.all_do(partial(self._save, snapshot))
        self._model.train()
        self._saved_s, self._step = time.monotonic(), progress.step


def _check(schedule: Schedule, workers: Workers) -> None:
    if schedule.limit_s is not None and workers.world_size > 1:
        raise CallerError("limit_s works with one worker: with several, set the number of steps")
    if schedule.batch_size % workers.world_size:
        raise CallerError("batch_size must be a multiple of the number of workers")


def _optimizer(task: Task, schedule: Schedule) -> torch.optim.AdamW:
    parameters = dict(task.model.named_parameters())
    groups = []
    for names, rate in task.parameter_groups():
        for is_matrix in (True, False):
            chosen = [name for name in names if (parameters[name].dim() > 1) == is_matrix]
            decay = schedule.weight_decay if is_matrix else 0.0
            kept = {"lr": rate, "highest": rate, "names": chosen, "weight_decay": decay}
            groups += [{"params": [parameters[name] for name in chosen], **kept}] if chosen else []
    return torch.optim.AdamW(groups, betas=schedule.adam_betas)


def _is_done(schedule: Schedule, progress: Progress) -> bool:
    return _done_rate(schedule, progress) >= 1


def _done_rate(schedule: Schedule, progress: Progress) -> float:
    by_time = progress.elapsed_s / schedule.limit_s if schedule.limit_s else 0.0
    return max(progress.step / schedule.steps, by_time)


def _rate(schedule: Schedule, progress: Progress) -> float:
    """Linear warm-up, then half a cosine from there down to zero."""
    if progress.step < schedule.warmup_steps:
        return (progress.step + 1) / schedule.warmup_steps
    begun = schedule.warmup_steps / schedule.steps
    fallen = (_done_rate(schedule, progress) - begun) / (1 - begun)
    return 0.5 * (1 + math.cos(math.pi * max(0.0, fallen)))


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * rate


def _step(
    task: Task,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    step: int,
    device: str,
    workers: Workers,
) -> Metrics:
    indices = _indices(task, schedule, step, workers)
    rng = np.random.default_rng((schedule.seed, step, workers.rank))
    torch.manual_seed(int(rng.integers(2**63)))  # for what is dropped out
    totals: Metrics = {}
    parts = list(task.batches(indices, rng))
    if workers.in_step:
        parts += [(parts[-1][0], 0.0)] * (workers.most(len(parts)) - len(parts))
    for place, (batch, share) in enumerate(parts, 1):
        with _averaging(model, place == len(parts)):
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                metrics = model(**{name: tensor.to(device) for name, tensor in batch.items()})
            (metrics["loss"] * share).backward()
        for name, value in metrics.items():
            totals[name] = totals.get(name, 0.0) + share * float(value.detach())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return totals | {"gradient_norm": float(norm.full_tensor() if isinstance(norm, DTensor) else norm)}


def _averaging(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Workers have parts of their own number and length, so they average once, in the step's last part."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
        return nullcontext()
    return nullcontext() if is_last or not hasattr(model, "no_sync") else model.no_sync()


def _indices(task: Task, schedule: Schedule, step: int, workers: Workers) -> Int64[np.ndarray, " share"]:
    """This worker's examples of a step."""
    if task.num_examples is None:
        share = schedule.batch_size // workers.world_size
        return np.arange(step * share, (step + 1) * share)
    indices = batch_indices(task.num_examples, schedule.batch_size, schedule.seed, step)
    return indices[workers.rank :: workers.world_size]


def batch_indices(num_examples: int, batch_size: int, seed: int, step: int) -> Int64[np.ndarray, " batch"]:
    """The examples of one step: each pass over the data is shuffled anew, and passes run into each other."""
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    passes = {int(n): np.random.default_rng((seed, int(n))) for n in np.unique(places // num_examples)}
    orders = {n: rng.permutation(num_examples) for n, rng in passes.items()}
    return np.array([orders[int(place // num_examples)][place % num_examples] for place in places])


class _Means:
    """Means of what some steps say, reported once they are done."""

    def __init__(self, report: Report, every: int) -> None:
        self._report, self._every = report, every
        self._sums: Metrics = {}
        self._count = 0

    def add(self, metrics: Metrics, progress: Progress) -> None:
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if progress.step % self._every == 0:
            means = {name: total / self._count for name, total in self._sums.items()}
            self._report(progress.step, means | {"elapsed_s": progress.elapsed_s})
            self._sums, self._count = {}, 0
