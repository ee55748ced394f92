"""Labelled faces -> a fine-tuned model, by the training loop in the workers of Ray Train."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from torch import nn

from expllm.distributed import cluster, examples, storage, training_data, training_output, training_progress
from expllm.distributed.training_data import Material
from expllm.distributed.training_output import MODEL, Journal
from expllm.distributed.training_settings import checked
from expllm.errors import CallerError
from expllm.models import assembly, recording
from expllm.models.checkpoint import ACTION_UNITS
from expllm.models.explainer import explainer_of
from expllm.models.finetuning import ExplainTask, FaceSource
from expllm.models.sampling import sample_texts
from expllm.models.sharding import shard
from expllm.models.starting import Start, start
from expllm.models.training import Metrics, Schedule, train
from expllm.models.training_checkpoints import Snapshot, load_trained, newest_checkpoint
from expllm.models.workers import AnotherStopped, Workers
from expllm.train_config import TrainConfig

Work = Callable[[dict[str, Any]], str | None]


def work(settings: dict[str, Any]) -> str | None:
    """Train in one worker; the first writes checkpoints, what goes beside them, and the model.

    Returns:
        Why the training cannot go on, where trying again would not help; all workers end together then.

    Raises:
        CallerError: why this worker alone cannot go on: on another machine it might.
    """
    config = TrainConfig.of(settings)
    torch.manual_seed(config.seed)
    workers = _workers(config)
    try:
        begun, material, task = workers.all_do(partial(_begun, config, workers))
        with training_output.local_steps(config.output) as steps:
            _learn(config, workers, begun, material, task, steps)
            if workers.rank == 0:
                training_output.publish_model(partial(_write_model, config, steps), config.output)
    except CallerError as error:
        if workers.rank and not isinstance(error, AnotherStopped):
            raise
        return str(error)
    return None


def run(config: TrainConfig, work: Work = work) -> str:
    """Fine-tune as configured, tell the progress on stderr, and name the folder of the trained model.

    Workers that are lost start again from the newest checkpoint in OUTPUT/steps.

    Args:
        work: What each worker does.

    Raises:
        CallerError: the model, the faces or the output are not there or do not fit, or the cluster is too
            small; nothing was trained. Or a checkpoint could not be written; the one before it stays.
        RunError: the workers failed more often than `max_failures`.
    """
    found = examples.gather(config) if config.data else None
    settings = checked(config, found and found.data_id)
    with cluster.connected(), cluster.naming(TrainingFailedError):
        training_data.check_cluster(config)
        if found:
            training_data.prepare(settings, found)
        with training_progress.shown(config) as told:
            ended = TorchTrainer(
                work,
                train_loop_config=settings.model_dump(),
                torch_config=TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
                scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=config.use_gpu),
                run_config=RunConfig(
                    name="ray",
                    storage_path=settings.output,
                    failure_config=FailureConfig(config.max_failures),
                    callbacks=[told],
                ),
            ).fit()
    if ended.return_value is not None:
        raise CallerError(ended.return_value)
    return storage.join(settings.output, MODEL)


def _begun(config: TrainConfig, workers: Workers) -> tuple[Start, Material, ExplainTask]:
    begun = start(config)
    material = training_data.material(config, begun.checkpoint, workers.rank, workers.world_size)
    return begun, material, _task(config, begun, material.source)


def _learn(
    config: TrainConfig, workers: Workers, begun: Start, material: Material, task: ExplainTask, steps: Path
) -> None:
    journal, device = Journal(config.output), str(get_device())
    schedule = _schedule(config, material.num_faces)

    def save(snapshot: Snapshot) -> None:
        texts = sample_texts(
            task.model, material.samples, begun.tokenizer, begun.preprocessing, device, workers.most
        )
        if workers.rank == 0:
            journal.write(snapshot.progress.step, texts)
            snapshot.save(steps)
            training_output.publish_checkpoint(steps, config.output)

    report = partial(_report, journal, schedule.steps)
    train(task, schedule, steps, report, device=device, workers=workers, save=save)


def _task(config: TrainConfig, begun: Start, faces: FaceSource) -> ExplainTask:
    return ExplainTask(
        faces,
        explainer_of(begun.model, config),
        begun.tokenizer,
        begun.preprocessing,
        tokens_at_once=config.tokens_at_once,
        packing=config.packing,
        adapter_rate=config.adapter_rate,
        projector_rate=config.projector_rate,
        label_only_rate=config.label_only_rate,
        label_first=config.label_first,
    )


def _schedule(config: TrainConfig, num_faces: int) -> Schedule:
    steps = config.steps_over(num_faces)
    return Schedule(
        steps,
        config.batch_size,
        warmup_steps=int(config.warmup_rate * steps),
        weight_decay=config.weight_decay,
        adam_betas=config.adam_betas,
        clip_norm=config.clip_norm,
        seed=config.seed,
        save_every_s=config.save_every_s,
        report_every=1,
    )


def _workers(config: TrainConfig) -> Workers:
    context, device = ray.train.get_context(), get_device()
    rank, size = context.get_world_rank(), context.get_world_size()

    def most(number: int) -> int:
        found = torch.tensor(number, device=device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    def divided(model: nn.Module) -> nn.Module:
        return shard(model, device.type, size)

    together = most if torch.distributed.is_initialized() else int
    if config.sharding == "fsdp2":
        return Workers(rank, size, divided, together, in_step=True)
    return Workers(rank, size, prepare_model, together)


def _write_model(config: TrainConfig, steps: Path, folder: Path) -> None:
    """The model as the last checkpoint has it, its adapters merged.

    What reads action units off the features is fitted to an encoder, so it goes with one that is as it was.
    """
    begun = start(config)
    explainer = explainer_of(begun.model, config)
    load_trained(explainer, newest_checkpoint(steps))
    recording.record(folder, begun.model, begun.tokenizer, begun.preprocessing, begun.checkpoint)
    explainer.merge()
    card: dict[str, object] = {
        "name": MODEL,
        "trained_from": config.model if begun.checkpoint else [config.encoder, config.language_model],
        "encoder_trained": explainer.learns_to_see,
        "settings": config.model_dump(mode="json"),
    }
    assembly.save_assembled(folder, begun.model, begun.tokenizer, begun.preprocessing, card)
    reader = begun.checkpoint.unit_reader() if begun.checkpoint else None
    if reader is not None and not explainer.learns_to_see:
        reader.save(folder / ACTION_UNITS)


def _report(journal: Journal, steps: int, step: int, metrics: Metrics) -> None:
    journal.add(step, metrics)
    ray.train.report({"step": step, "steps": steps, **metrics})
