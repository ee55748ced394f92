"""The training loop learns, resumes where it stopped, and takes every example once a pass."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from expllm.errors import CallerError, RunError
from expllm.models.training import (
    Metrics,
    Schedule,
    _optimizer,
    _rate,
    batch_indices,
    train,
)
from expllm.models.training_checkpoints import Progress, Snapshot, load_trained, newest_checkpoint
from expllm.models.workers import AnotherStopped, Workers


class _Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.layer(x).float()[:, 0] - y).pow(2).mean()}


class _LineTask:
    num_examples = 40

    def __init__(self) -> None:
        self.model = _Line()
        self._x = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
        self.seen: list[int] = []

    def parameter_groups(self) -> list[tuple[list[str], float]]:
        return [(["layer.weight", "layer.bias"], 0.05)]

    def batches(
        self, indices: Int64[np.ndarray, " batch"], rng: np.random.Generator
    ) -> Iterator[tuple[dict[str, Tensor], float]]:
        self.seen += indices.tolist()
        for part in np.array_split(indices, 2):
            x = self._x[part] + 0.01 * torch.from_numpy(rng.normal(size=(len(part), 3))).float()
            yield {"x": x, "y": x.sum(1)}, len(part) / len(indices)


def _ignore(step: int, metrics: Metrics) -> None:
    pass


def test_the_loss_falls(tmp_path: Path) -> None:
    losses: list[float] = []
    schedule = Schedule(steps=60, batch_size=8, warmup_steps=5, report_every=10)
    train(_LineTask(), schedule, tmp_path, lambda step, metrics: losses.append(metrics["loss"]))
    assert losses[-1] < 0.2 * losses[0]


def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = _LineTask(), _LineTask(), _LineTask()
    schedule = Schedule(steps=20, batch_size=8, warmup_steps=0)
    train(whole, schedule, tmp_path / "whole", _ignore)

    class _Stop(Exception):
        pass

    def stop(step: int, metrics: Metrics) -> None:
        raise _Stop

    eager = Schedule(steps=20, batch_size=8, warmup_steps=0, save_every_s=-1, report_every=11)
    with pytest.raises(_Stop):
        train(first, eager, tmp_path / "parts", stop)
    train(second, schedule, tmp_path / "parts", _ignore)
    assert torch.equal(whole.model.layer.weight, second.model.layer.weight)


def test_a_finished_training_does_nothing_more(tmp_path: Path) -> None:
    schedule = Schedule(steps=3, batch_size=8)
    train(_LineTask(), schedule, tmp_path, _ignore)
    again = _LineTask()
    assert train(again, schedule, tmp_path, _ignore).step == 3
    assert again.seen == []


def test_the_time_limit_ends_a_training(tmp_path: Path) -> None:
    schedule = Schedule(steps=10**9, batch_size=8, limit_s=0.3)
    assert train(_LineTask(), schedule, tmp_path, _ignore).elapsed_s < 3


def test_a_time_limit_for_several_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="limit_s"):
        train(
            _LineTask(), Schedule(9, 8, limit_s=1), tmp_path, _ignore, workers=Workers(rank=0, world_size=2)
        )


def test_only_the_newest_checkpoint_is_kept_and_holds_no_pickle(tmp_path: Path) -> None:
    train(_LineTask(), Schedule(steps=5, batch_size=8, save_every_s=-1), tmp_path, _ignore)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-00000005"]
    files = {file.name for file in newest_checkpoint(tmp_path).iterdir()}
    assert files == {"parameters.safetensors", "optimizer.safetensors", "progress.json"}
    assert json.loads((newest_checkpoint(tmp_path) / "progress.json").read_text())["step"] == 5


def test_what_a_killed_worker_was_writing_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-00000002.77").mkdir()
    train(_LineTask(), Schedule(steps=3, batch_size=8), tmp_path, _ignore)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-00000003"]


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    train(_LineTask(), Schedule(steps=3, batch_size=8), tmp_path, _ignore)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # a write is refused half-way
    try:
        with pytest.raises(CallerError, match=r"cannot be written .*make room") as failed:
            train(_LineTask(), Schedule(steps=5, batch_size=8), tmp_path, _ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(failed.value)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-00000003"]
    assert train(_LineTask(), Schedule(steps=5, batch_size=8), tmp_path, _ignore).step == 5


def test_a_failure_of_what_follows_a_checkpoint_ends_the_training(tmp_path: Path) -> None:
    def full(snapshot: Snapshot) -> None:
        raise CallerError("no room for samples")

    with pytest.raises(CallerError, match="no room for samples"):
        train(_LineTask(), Schedule(steps=3, batch_size=8), tmp_path, _ignore, save=full)


def _second(*told: int) -> Workers:
    """The second of two workers; what both are told as the largest of their numbers."""
    numbers = iter(told)
    return Workers(rank=1, world_size=2, most=lambda number: next(numbers))


def test_workers_hear_of_a_checkpoint_that_the_first_cannot_write(tmp_path: Path) -> None:
    same_step, not_due, first_failed = (0, 0, 0), 0, 2
    second = _second(*same_step, not_due, first_failed)
    with pytest.raises(AnotherStopped, match="worker 0 cannot go on"):
        train(_LineTask(), Schedule(steps=1, batch_size=8), tmp_path, _ignore, workers=second)


def test_a_worker_that_fails_alone_says_why(tmp_path: Path) -> None:
    (tmp_path / "step-00000001").mkdir()
    with pytest.raises(CallerError, match="is not whole"):
        train(_LineTask(), Schedule(steps=1, batch_size=8), tmp_path, _ignore, workers=_second(1))


def test_workers_that_see_different_checkpoints_do_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="see different checkpoints"):
        train(_LineTask(), Schedule(steps=1, batch_size=8), tmp_path, _ignore, workers=_second(0, 3, 0))


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.Linear(4, 1), "its layer.weight is 1 x 3, the model's 1 x 4"),
        (nn.Linear(3, 1, bias=False), "it holds layer.bias"),
        (nn.Sequential(nn.Linear(3, 1)), "it holds layer."),
    ],
)
def test_a_checkpoint_of_another_model_is_one_line(tmp_path: Path, layer: nn.Module, told: str) -> None:
    train(_LineTask(), Schedule(steps=1, batch_size=8), tmp_path, _ignore)
    model = _Line()
    model.layer = layer
    with pytest.raises(CallerError, match="is of another model: ") as refused:
        load_trained(model, newest_checkpoint(tmp_path))
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_a_checkpoint_that_is_cut_off_is_named(tmp_path: Path) -> None:
    train(_LineTask(), Schedule(steps=1, batch_size=8), tmp_path, _ignore)
    file = newest_checkpoint(tmp_path) / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(CallerError, match=r"optimizer\.safetensors: is not whole"):
        train(_LineTask(), Schedule(steps=2, batch_size=8), tmp_path, _ignore)


def test_rates_rise_and_fall_as_the_papers_do() -> None:
    schedule = Schedule(steps=103, batch_size=8, warmup_steps=3)
    rates = [_rate(schedule, Progress(step)) for step in range(103)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[3] == 1.0 and rates[53] == pytest.approx(0.5) and rates[-1] < 1e-3


def test_biases_do_not_decay(tmp_path: Path) -> None:
    groups = _optimizer(_LineTask(), Schedule(1, 8, weight_decay=0.05)).param_groups
    assert {name: group["weight_decay"] for group in groups for name in group["names"]} == {
        "layer.weight": 0.05,
        "layer.bias": 0.0,
    }


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="run the training first"):
        newest_checkpoint(tmp_path)


def test_each_pass_takes_every_example_once_in_a_new_order() -> None:
    order = np.concatenate([batch_indices(10, 4, seed=3, step=step) for step in range(5)])
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10].tolist() != order[10:].tolist()


def test_workers_share_a_step_without_overlap(tmp_path: Path) -> None:
    parts = []
    for rank in range(2):
        task = _LineTask()
        train(task, Schedule(1, 8), tmp_path / str(rank), _ignore, workers=Workers(rank, 2))
        parts.append(task.seen)
    assert sorted(parts[0] + parts[1]) == sorted(batch_indices(40, 8, 0, 0).tolist())


class _StreamTask(_LineTask):
    num_examples = None


def test_a_stream_is_read_at_places_of_each_workers_own(tmp_path: Path) -> None:
    for rank in range(2):
        task = _StreamTask()
        train(task, Schedule(3, 8), tmp_path / str(rank), _ignore, workers=Workers(rank, 2))
        assert task.seen == list(range(12))


def test_a_stream_goes_on_where_the_training_stopped(tmp_path: Path) -> None:
    class _Stop(Exception):
        pass

    def stop(step: int, metrics: Metrics) -> None:
        raise _Stop

    eager = Schedule(steps=5, batch_size=8, save_every_s=-1, report_every=3)
    with pytest.raises(_Stop):
        train(_StreamTask(), eager, tmp_path, stop)
    saved = json.loads((newest_checkpoint(tmp_path) / "progress.json").read_text())["step"]
    task = _StreamTask()
    train(task, Schedule(steps=5, batch_size=8), tmp_path, _ignore)
    assert task.seen == list(range(8 * saved, 40)) and saved == 2
