"""Two workers learn the same whether they copy the weights or divide them."""

import json
import os
import shutil
import socket
from multiprocessing import set_forkserver_preload
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
from expllm.models.training_checkpoints import PARAMETERS, Snapshot, newest_checkpoint
from expllm.models.workers import Workers

STEPS, BATCH = 3, 6


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


def _work(rank: int, port: int, checkpoint: Path, out: Path, is_sharded: bool) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo")
    explainer = _explainer(checkpoint)
    losses: list[float] = []
    answered: list[object] = []

    def wrap(model: nn.Module) -> nn.Module:
        return shard(model, "cpu", 2) if is_sharded else DistributedDataParallel(model)

    def report(step: int, metrics: Metrics) -> None:
        losses.append(metrics["loss"])

    def save(snapshot: Snapshot) -> None:
        if rank == 0:
            snapshot.save(out / "steps")
            if snapshot.progress.step == 1:
                shutil.copytree(out / "steps", out / "first", dirs_exist_ok=True)
        with torch.autocast("cpu", torch.bfloat16):
            answered.append(explainer.eval().answers(torch.zeros(1, 3, 112, 112), [5, 6], 2, 3, _most))

    workers = Workers(rank, 2, wrap, _most, in_step=is_sharded)
    schedule = Schedule(STEPS, BATCH, warmup_steps=0, report_every=1, save_every_s=0)
    train(_Conversations(explainer), schedule, out / "steps", report, workers=workers, save=save)
    (out / f"{rank}.json").write_text(json.dumps({"losses": losses, "answered": answered}))
    dist.destroy_process_group()


def _trained(checkpoint: Path, out: Path, *, is_sharded: bool) -> Path:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    set_forkserver_preload(
        ["expllm.models.sharding", "expllm.models.training"]
    )  # torch is loaded once for all
    mp.start_processes(_work, (port, checkpoint, out, is_sharded), nprocs=2, start_method="forkserver")
    return out


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Path:
    """What two workers leave that copy the weights."""
    return _trained(random_checkpoint, tmp_path_factory.mktemp("copied"), is_sharded=False)


@pytest.fixture(scope="module")
def divided(copied: Path, tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Path:
    """What two workers leave that divide the weights, from the first step of the others on."""
    out = tmp_path_factory.mktemp("divided")
    shutil.copytree(copied / "first", out / "steps")
    return _trained(random_checkpoint, out, is_sharded=True)


def _told(folder: Path, rank: int) -> dict[str, list]:
    return json.loads((folder / f"{rank}.json").read_text())


@pytest.mark.parametrize("rank", [0, 1])
def test_divided_weights_give_the_losses_of_copied_ones(copied: Path, divided: Path, rank: int) -> None:
    expected = _told(copied, rank)["losses"]
    assert _told(divided, rank)["losses"] == pytest.approx(expected[1:], rel=2e-3)
    assert len(expected) == STEPS and expected[-1] < expected[0]


def test_divided_weights_are_saved_whole(copied: Path, divided: Path) -> None:
    first, second = (load_file(newest_checkpoint(out / "steps") / PARAMETERS) for out in (copied, divided))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], atol=2e-3), name


def test_workers_with_divided_weights_write_samples_together(divided: Path) -> None:
    first, second = (_told(divided, rank)["answered"] for rank in (0, 1))
    assert len(first) == STEPS - 1 and first == second
