"""A training's configuration -> the faces that its workers learn from."""

import sys
from pathlib import Path

from expllm.action_units import Estimator
from expllm.config import TrainConfig
from expllm.distributed import cluster, examples
from expllm.distributed.example_stream import READ_CPUS, ExampleStream
from expllm.errors import CallerError
from expllm.exp_cot.lessons import Lessons
from expllm.models import dataset, fit_unit_reader
from expllm.models.checkpoint import Checkpoint
from expllm.models.encoder import Encoder
from expllm.models.finetuning import FaceSource
from expllm.shuffling import Deal


def prepare(config: TrainConfig, found: Lessons, checkpoint: Checkpoint) -> None:
    """Have the examples of `data` made, if they are not, and tell on stderr what they are.

    Raises:
        CallerError: they are fewer than the workers, the cluster is too small, or examples.prepare refuses.
    """
    cluster.check_holds({"CPU": config.workers * (1 + 2 * READ_CPUS)}, "workers")
    measuring = None if checkpoint.unit_reader() is None else checkpoint
    made = examples.prepare(config, found, checkpoint.preprocessing.cut, measuring)
    sys.stderr.write(f"{examples.line(found, made)}\n")
    if made.num_rows < config.workers:
        raise CallerError(f"{made.num_rows} faces are too few for {config.workers} workers: lower `workers`")


def faces(config: TrainConfig, checkpoint: Checkpoint, rank: int, world_size: int) -> FaceSource:
    """What one worker learns from: its stream of examples, or all prepared faces of people not held out."""
    if config.data:
        made = examples.read(str(config.examples))
        deal = Deal(made.lengths, config.seed, rank, world_size)
        return ExampleStream(made, deal, stop=config.steps * config.batch_size // world_size)
    trained, _ = dataset.load(Path(str(config.faces)), Estimator.load()).split()
    reader = checkpoint.unit_reader()
    return trained if reader is None else fit_unit_reader.joined(trained, Encoder(checkpoint).encode, reader)
