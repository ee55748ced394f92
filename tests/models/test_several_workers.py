"""Two workers learn the same whether they copy the weights, divide them, or are killed on the way."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.explainer import Explainer, lora_config
from expllm.models.sharding import shard
from expllm.models.training import Metrics, Schedule, train
from expllm.models.training_checkpoints import Snapshot, load_trained, newest_checkpoint
from expllm.models.workers import Workers

STEPS, BATCH = 4, 6


class _Conversations:
    """Six examples of differing length, so that workers have differing numbers of parts."""

    num_examples = 6

    def __init__(self, model: Explainer) -> None:
        self.model = model

    def parameter_groups(self):
        return [([n for n, p in self.model.named_parameters() if p.requires_grad], 1e-2)]

    def batches(self, indices, rng):
        from expllm.models.collation import parts

        image = [self.model.config.image_token_index] * 49
        examples = []
        for index in indices.tolist():
            prompt, answer = [5, *image, 7], list(range(20, 23 + 40 * (index % 2)))
            zeros, ones = [0.0] * len(prompt), [1.0] * len(answer)
            examples.append((prompt + answer, [-100] * len(prompt) + answer, zeros + ones))
        pixels = torch.rand(6, 3, 112, 112, generator=torch.Generator().manual_seed(0))[indices]
        yield from parts(examples, {"pixel_values": pixels}, 110, packing=True)


def _explainer(checkpoint: Path) -> Explainer:
    torch.manual_seed(0)
    model = ExpllmForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.bfloat16)
    return Explainer(model, lora_config(rank=4, dropout=0.1))


def _most(number: int) -> int:
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def _work(rank: int, port: int, checkpoint: Path, out: Path, is_sharded: bool, dies_at: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo")
    explainer = _explainer(checkpoint)

    def wrap(model: nn.Module) -> nn.Module:
        return shard(model, "cpu", 2) if is_sharded else DistributedDataParallel(model)

    def report(step: int, metrics: Metrics) -> None:
        losses.append(metrics["loss"])
        if (rank, step) == (1, dies_at):
            os.kill(os.getpid(), signal.SIGKILL)

    def save(snapshot: Snapshot) -> None:
        if rank == 0:
            snapshot.save(out)
        with torch.autocast("cpu", torch.bfloat16):
            answered.append(explainer.eval().answers(torch.zeros(1, 3, 112, 112), [5, 6], 2, 3, _most))

    workers = Workers(rank, 2, wrap, _most, in_step=is_sharded)
    losses: list[float] = []
    answered: list[object] = []
    schedule = Schedule(STEPS, BATCH, warmup_steps=0, report_every=1, save_every_s=0)
    train(
        _Conversations(explainer),
        schedule,
        out,
        report,
        workers=workers,
        save=save,
    )
    (out / f"{rank}.json").write_text(json.dumps({"losses": losses, "answered": answered}))
    dist.destroy_process_group()


def _trained(checkpoint: Path, out: Path, *, is_sharded: bool, dies_at: int = 0) -> Path:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out.mkdir(exist_ok=True)
    mp.spawn(_work, (port, checkpoint, out, is_sharded, dies_at), nprocs=2)
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> dict[bool, Path]:
    """What two workers leave with copied and with divided weights."""
    place = tmp_path_factory.mktemp("sharding")
    return {
        is_sharded: _trained(random_checkpoint, place / str(is_sharded), is_sharded=is_sharded)
        for is_sharded in (False, True)
    }


def _told(folder: Path, rank: int) -> dict[str, list]:
    return json.loads((folder / f"{rank}.json").read_text())


def _saved_by(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(newest_checkpoint(folder) / "parameters.safetensors")


@pytest.mark.parametrize("rank", [0, 1])
def test_divided_weights_give_the_losses_of_copied_ones(folders: dict[bool, Path], rank: int) -> None:
    copied, divided = (_told(folders[is_sharded], rank)["losses"] for is_sharded in (False, True))
    assert len(divided) == STEPS and divided == pytest.approx(copied, rel=2e-3)
    assert divided[-1] < divided[0]


def test_divided_weights_are_saved_whole(folders: dict[bool, Path], random_checkpoint: Path) -> None:
    copied, divided = (_explainer(random_checkpoint) for _ in range(2))
    load_trained(copied, newest_checkpoint(folders[False]))
    load_trained(divided, newest_checkpoint(folders[True]))
    other = dict(copied.named_parameters())
    for name, parameter in divided.named_parameters():
        assert torch.allclose(parameter, other[name], atol=2e-3), name


def test_workers_with_divided_weights_write_samples_together(folders: dict[bool, Path]) -> None:
    first, second = (_told(folders[True], rank)["answered"] for rank in (0, 1))
    assert len(first) == STEPS and first == second


def test_a_worker_killed_in_the_middle_changes_no_bit(
    folders: dict[bool, Path], random_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(mp.ProcessExitedException, match="SIGKILL"):
        _trained(random_checkpoint, tmp_path, is_sharded=False, dies_at=3)
    assert newest_checkpoint(tmp_path).name == "step-00000002"
    _trained(random_checkpoint, tmp_path, is_sharded=False)
    assert len(_told(tmp_path, 0)["losses"]) == 2
    found, expected = (_saved_by(folder) for folder in (tmp_path, folders[False]))
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_divided_weights_go_on_from_a_checkpoint_of_copied_ones(
    folders: dict[bool, Path], random_checkpoint: Path
) -> None:
    _trained(random_checkpoint, folders[False], is_sharded=True)
    assert _told(folders[False], 0)["losses"] == []
