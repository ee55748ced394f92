"""A training's configuration -> the faces that its workers learn from."""

import sys
from dataclasses import dataclass
from pathlib import Path

from expllm.action_units import Estimator
from expllm.distributed import cluster, example_stream, examples
from expllm.distributed.example_stream import READ_CPUS, ExampleStream
from expllm.errors import CallerError
from expllm.exp_cot.lessons import Lessons
from expllm.models import dataset, fit_unit_reader
from expllm.models.checkpoint import Checkpoint, resolve
from expllm.models.encoder import Encoder
from expllm.models.finetuning import Faces, FaceSource
from expllm.models.starting import preprocessing
from expllm.shuffling import Deal
from expllm.train_config import TrainConfig


@dataclass(frozen=True)
class Material:
    """What one worker learns from."""

    source: FaceSource
    num_faces: int
    """Those that all workers together see in a pass."""
    samples: Faces
    """Faces that are explained at each checkpoint."""


def check_cluster(config: TrainConfig) -> None:
    """Refuse a training that would wait for ever for processors that the cluster does not have.

    Raises:
        CallerError: so it is.
    """
    reading = 2 * READ_CPUS if config.data else 0
    a_worker = {"CPU": reading, "GPU": 1} if config.use_gpu else {"CPU": 1 + reading}
    cluster.check_holds({kind: count * config.workers for kind, count in a_worker.items()}, "workers")


def prepare(config: TrainConfig, found: Lessons) -> None:
    """Have the examples of `data` made, if they are not, and tell on stderr what they are.

    Raises:
        CallerError: they are fewer than the workers, or examples.prepare refuses.
    """
    checkpoint = None if config.encoder else resolve(config.model)
    measuring = checkpoint if checkpoint and checkpoint.unit_reader() else None
    made = examples.prepare(config, found, preprocessing(config).cut, measuring)
    sys.stderr.write(f"{examples.line(found, made)}\n")
    if made.num_rows < config.workers:
        raise CallerError(f"{made.num_rows} faces are too few for {config.workers} workers: lower `workers`")


def material(config: TrainConfig, checkpoint: Checkpoint | None, rank: int, world_size: int) -> Material:
    """A worker's stream of examples, or all prepared faces of people not held out.

    Args:
        checkpoint: The model that is started from; None where it is put together anew.
    """
    if config.data:
        made = examples.read(str(config.examples))
        deal = Deal(made.lengths, config.seed, rank, world_size)
        stop = config.steps_over(made.num_rows) * config.batch_size // world_size
        samples = example_stream.first(made, config.samples)
        return Material(ExampleStream(made, deal, stop), made.num_rows, samples)
    trained, held_out = dataset.load(Path(str(config.faces)), Estimator.load()).split()
    reader = checkpoint.unit_reader() if checkpoint else None
    if checkpoint is not None and reader is not None:
        trained = fit_unit_reader.joined(trained, Encoder(checkpoint).encode, reader)
    return Material(trained, len(trained), held_out.sample(config.samples))
