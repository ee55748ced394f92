"""Labelled faces -> a fine-tuned model, by the training loop in the workers of Ray Train."""

from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from transformers import AutoTokenizer

from expllm.config import TrainConfig
from expllm.distributed import cluster, examples, training_data, training_progress
from expllm.distributed.training_settings import STEPS, checked
from expllm.models import assembly
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.checkpoint import ACTION_UNITS, resolve
from expllm.models.finetuning import Explainer, ExplainTask, lora_config
from expllm.models.training import Metrics, Schedule, Workers, train

MODEL = "model"


def run(config: TrainConfig) -> Path:
    """Fine-tune as configured, tell the progress on stderr, and name the folder of the trained model.

    Workers that are lost start again from the newest checkpoint in OUTPUT/steps.

    Raises:
        CallerError: the model, the faces or the output are not there or do not fit; nothing was trained.
        RunError: the workers failed more often than `max_failures`.
    """
    found = examples.gather(config) if config.data else None
    settings = checked(config, found and found.data_id)
    with cluster.connected(), cluster.naming(TrainingFailedError):
        if found:
            training_data.prepare(settings, found, resolve(settings.model))
        with training_progress.shown(config) as told:
            TorchTrainer(
                _work,
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
    return Path(settings.output) / MODEL


def _work(settings: dict[str, Any]) -> None:
    """Train in one worker; the first writes the model."""
    config = TrainConfig.of(settings)
    context = ray.train.get_context()
    torch.manual_seed(config.seed)
    checkpoint = resolve(config.model)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    model = ExpllmForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.bfloat16)
    explainer = Explainer(model, lora_config())
    workers = Workers(context.get_world_rank(), context.get_world_size(), prepare_model)
    task = ExplainTask(
        training_data.faces(config, checkpoint, workers.rank, workers.world_size),
        explainer,
        tokenizer,
        checkpoint.preprocessing,
        adapter_rate=config.adapter_rate,
        projector_rate=config.projector_rate,
        label_only_rate=config.label_only_rate,
        label_first=config.label_first,
    )
    schedule = Schedule(
        config.steps,
        config.batch_size,
        warmup_steps=min(50, config.steps // 10),
        seed=config.seed,
        save_every_s=config.save_every_s,
        report_every=1,
    )
    output = Path(config.output)
    train(task, schedule, output / STEPS, _report, device=str(get_device()), workers=workers)
    if workers.rank == 0:
        explainer.language_model.merge_and_unload()
        assembly.save_assembled(output / MODEL, model, tokenizer, checkpoint.preprocessing, _card(config))
        reader = checkpoint.unit_reader()
        if reader is not None:  # the encoder was frozen, so what reads its features still fits
            reader.save(output / MODEL / ACTION_UNITS)


def _card(config: TrainConfig) -> dict[str, object]:
    return {"name": MODEL, "trained_from": config.model, "settings": config.model_dump()}


def _report(step: int, metrics: Metrics) -> None:
    ray.train.report({"step": step, **metrics})
