"""The training loop: batches and a loss in, trained parameters and metrics out; the same for every model."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int64
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from expllm.errors import CallerError

Metrics = dict[str, float]
Report = Callable[[int, Metrics], None]
Batch = Mapping[str, Tensor]


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
    clip_norm: float = 1.0
    seed: int = 0
    limit_s: float | None = None
    """Most seconds of training, resumed parts included; the learning rate falls to nothing in this time."""
    save_every_s: float = 300.0
    report_every: int = 20


@dataclass
class Progress:
    """Where a training stands; what a checkpoint holds beside the tensors."""

    step: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Workers:
    """This process among those that train together; `wrap` makes the model average gradients (DDP)."""

    rank: int = 0
    world_size: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model


def train(
    task: Task,
    schedule: Schedule,
    folder: Path,
    report: Report,
    *,
    device: str = "cpu",
    workers: Workers | None = None,
) -> Progress:
    """Train until the steps or the time are used up; continue from the newest checkpoint in `folder`.

    The order of the examples depends on the seed and the step alone, so a resumed training sees what
    an uninterrupted one would have seen. The newest checkpoint stays in the folder.

    Raises:
        CallerError: a time limit is asked of several workers, or the batch cannot be divided.
    """
    workers = workers or Workers()
    _check(schedule, workers)
    task.model.to(device).train()
    optimizer = _optimizer(task, schedule)
    progress = _resume(folder, task.model, optimizer)
    model = workers.wrap(task.model)
    saved_s, totals = time.monotonic(), _Totals()
    while not _is_done(schedule, progress):
        start_s = time.monotonic()
        _set_learning_rate(optimizer, _rate(schedule, progress))
        totals.add(_step(task, model, optimizer, schedule, progress.step, device, workers))
        progress.step += 1
        progress.elapsed_s += time.monotonic() - start_s
        if progress.step % schedule.report_every == 0:
            report(progress.step, totals.means() | {"elapsed_s": progress.elapsed_s})
            totals = _Totals()
        if workers.rank == 0 and time.monotonic() - saved_s > schedule.save_every_s:
            _save(folder, task.model, optimizer, progress)
            saved_s = time.monotonic()
    if workers.rank == 0:
        _save(folder, task.model, optimizer, progress)
    return progress


def _check(schedule: Schedule, workers: Workers) -> None:
    if schedule.limit_s is not None and workers.world_size > 1:
        raise CallerError("limit_s works with one worker: with several, set the number of steps")
    if schedule.batch_size % workers.world_size:
        raise CallerError("batch_size must be a multiple of the number of workers")


def _optimizer(task: Task, schedule: Schedule) -> torch.optim.AdamW:
    parameters = dict(task.model.named_parameters())
    groups = [
        {"params": [parameters[name] for name in names], "lr": rate, "highest": rate, "names": names}
        for names, rate in task.parameter_groups()
    ]
    return torch.optim.AdamW(groups, weight_decay=schedule.weight_decay, betas=(0.9, 0.98))


def _is_done(schedule: Schedule, progress: Progress) -> bool:
    return _done_rate(schedule, progress) >= 1


def _done_rate(schedule: Schedule, progress: Progress) -> float:
    by_time = progress.elapsed_s / schedule.limit_s if schedule.limit_s else 0.0
    return max(progress.step / schedule.steps, by_time)


def _rate(schedule: Schedule, progress: Progress) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = min(1.0, (progress.step + 1) / max(1, schedule.warmup_steps))
    return warmup * 0.5 * (1 + math.cos(math.pi * _done_rate(schedule, progress)))


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
    totals: Metrics = {}
    parts = list(task.batches(indices, rng))
    for place, (batch, share) in enumerate(parts, 1):
        with (
            _averaging(model, place == len(parts)),
            torch.autocast(torch.device(device).type, torch.bfloat16),
        ):
            metrics = model(**{name: tensor.to(device) for name, tensor in batch.items()})
            loss = metrics["loss"] * share
        with _averaging(model, place == len(parts)):
            loss.backward()
        for name, value in metrics.items():
            totals[name] = totals.get(name, 0.0) + share * float(value.detach())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return totals | {"gradient_norm": float(norm)}


def _averaging(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Workers have parts of their own number and length, so they average once, in the step's last part."""
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


class _Totals:
    """Running means of what a step reports."""

    def __init__(self) -> None:
        self._sums: Metrics = {}
        self._count = 0

    def add(self, metrics: Metrics) -> None:
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def means(self) -> Metrics:
        return {name: total / self._count for name, total in self._sums.items()}


def _save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    target = folder / f"step-{progress.step:08d}"
    if target.exists():
        return
    partial = folder / f".{target.name}.{os.getpid()}"
    partial.mkdir(parents=True)
    trained = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, partial / "parameters.safetensors")
    save_file(_optimizer_tensors(optimizer), partial / "optimizer.safetensors")
    (partial / "progress.json").write_text(json.dumps(vars(progress)))
    partial.rename(target)
    for older in _checkpoints(folder)[:-1]:
        shutil.rmtree(older)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value.contiguous()
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[parameter].items()
    }


def _resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        return Progress()
    load_trained(model, checkpoints[-1])
    tensors = load_file(checkpoints[-1] / "optimizer.safetensors")
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            keys = [key for key in tensors if key.rsplit("/", 1)[0] == name]
            optimizer.state[parameter] = {
                key.rsplit("/", 1)[1]: tensors[key].to("cpu" if key.endswith("/step") else parameter.device)
                for key in keys
            }
    return Progress(**json.loads((checkpoints[-1] / "progress.json").read_text()))


def load_trained(model: nn.Module, checkpoint: Path) -> None:
    """Put a checkpoint's trained parameters into the model; the others stay as they are."""
    trained = load_file(checkpoint / "parameters.safetensors")
    unknown = model.load_state_dict(trained, strict=False).unexpected_keys
    if unknown:
        raise CallerError(f"the checkpoint {checkpoint.name} is of another model: it holds {unknown[0]}")


def newest_checkpoint(folder: Path) -> Path:
    """The checkpoint a training left in its folder.

    Raises:
        CallerError: there is none.
    """
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        raise CallerError(f"no training checkpoint in {folder}: run the training first")
    return checkpoints[-1]
