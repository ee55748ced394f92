"""Shards of photographs -> the model's answers: one streaming Ray dataset for the whole run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from expllm.config import BuildCotConfig, LabelConfig
from expllm.distributed import cluster
from expllm.distributed.encode import Encode
from expllm.distributed.faces import FindFaces
from expllm.distributed.measure import MeasureFaces
from expllm.distributed.results import RESULTS
from expllm.errors import CallerError
from expllm.manifest import Shard
from expllm.models.checkpoint import Checkpoint, resolve
from expllm.planning import Machines

_BLOCK_BYTES = 2 * 1024**2
"""Rows leave a stage in blocks of this size: small enough to flow on while a shard is still read."""
_ENCODE_BATCH = 32
FACE_CPUS = 1.0
ENCODER_CPUS = 0.5
_TASKS_CPUS = 1.0


def answers(work: list[Shard], checkpoint: Checkpoint, config: LabelConfig) -> Iterator[dict[str, Any]]:
    """Give rows of results.RESULTS as they come, in any order.

    Raises:
        CallerError: the cluster is too small for the configured workers, or a worker met a caller's mistake.
        RunError: a worker failed.
    """
    with cluster.connected(), cluster.naming():
        _check_resources(config)
        resolve_everywhere(config.model, checkpoint)
        set_context()
        with cluster.silent():
            dataset = _dataset(work, checkpoint, config)
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from batch.select(RESULTS.names).to_pylist()


def _dataset(work: list[Shard], checkpoint: Checkpoint, config: LabelConfig) -> Dataset:
    listed = ray.data.from_arrow([_listed(shard) for shard in work])
    encoded = with_features(listed, FindFaces, None, checkpoint, config)
    if config.engine == "serve":
        from expllm.distributed.serve_engine import answer_by_serve

        return answer_by_serve(encoded, checkpoint.model_id, config)
    from expllm.distributed.generate import answer_in_job

    return answer_in_job(encoded, checkpoint, config)


def with_features(
    listed: Dataset,
    find: type[FindFaces] | type[MeasureFaces],
    photographs: int | None,
    checkpoint: Checkpoint,
    config: LabelConfig | BuildCotConfig,
) -> Dataset:
    """Listed photographs into encode.FEATURES, by as many processes as the configuration says.

    Args:
        find: What finds faces in them.
        photographs: Those that it is given at a time; None for all of a block.
    """
    found = listed.map_batches(
        find,
        fn_constructor_args=(config.decode_timeout_s, checkpoint.preprocessing.cut),
        batch_size=photographs,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=config.face_workers),
        num_cpus=FACE_CPUS,
        **cluster.few_restarts(),
    )
    return found.map_batches(
        Encode,
        fn_constructor_args=(config.model, config.encoder_device),
        batch_size=_ENCODE_BATCH,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=config.encoder_workers),
        num_cpus=ENCODER_CPUS,
        num_gpus=config.encoder_gpus,
        **cluster.few_restarts(),
    )


def _listed(shard: Shard) -> pa.Table:
    ids = pa.array([shard.shard_id] * shard.photographs.num_rows)
    return shard.photographs.append_column("shard_id", ids)


def machines(config: LabelConfig) -> Machines:
    """What the configured workers take of the cluster's processors."""
    workers = FACE_CPUS * config.face_workers + ENCODER_CPUS * config.encoder_workers
    engines = config.engine_workers * max(1, config.engine_gpus)
    gpus = config.encoder_gpus * config.encoder_workers + config.engine_gpus * config.engine_workers
    return Machines(workers + engines + _TASKS_CPUS, gpus)


def _check_resources(config: LabelConfig) -> None:
    """Refuse what would wait for ever for processors that the cluster does not have."""
    needed = machines(config)
    lower = "face_workers, encoder_workers or engine_workers"
    cluster.check_holds({"CPU": needed.cpus, "GPU": needed.gpus}, lower)


def resolve_everywhere(model: str, checkpoint: Checkpoint) -> None:
    """Have the checkpoint's files on every machine before an engine asks for them."""

    def path() -> Path:
        return resolve(model).path

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if len(nodes) < 2:
        return
    here = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    paths = ray.get([ray.remote(num_cpus=0, scheduling_strategy=one)(path).remote() for one in here])
    if set(paths) != {checkpoint.path}:
        raise CallerError(
            f"the machines keep {model} in different places: set EXPLLM_CACHE to one path for all"
        )


def set_context() -> None:
    """Have Ray Data pass small blocks on, and leave the telling of progress to the job."""
    context = DataContext.get_current()
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
