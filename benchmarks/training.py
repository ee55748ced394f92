"""How fast fine-tuning goes beside a plain Transformers Trainer with PEFT: the same examples, in one run.

python -m benchmarks.training [--steps 8] [--out out/training]
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
from peft import get_peft_model
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset
from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments
from typer import Option

from benchmarks import pictures
from expllm import sft
from expllm.action_units import Estimator
from expllm.cli import run_command
from expllm.models import dataset, training
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.checkpoint import resolve
from expllm.models.explainer import Explainer, lora_config
from expllm.models.finetuning import ExplainTask

FIRST_PERSON = 800_000
_FACES = 64
_WARM = 2
"""Steps before the clock starts."""
_HELD_OUT = 16
_RATE = 5e-4
"""Highest learning rate of projector and adapters."""
_AT_ONCE = 4
"""Examples that the plain trainer takes at once; it adds up gradients to the same examples a step."""

Example = dict[str, Tensor]


@dataclass(frozen=True)
class Speed:
    """One way of training."""

    answer_tokens_per_s: float
    seconds_per_step: float
    loss: float
    """Mean over held-out examples of the mean loss of their answer's tokens, after the last step."""


def main(
    steps: Annotated[int, Option(min=3, help="Steps of each; the first two are not timed.")] = 8,
    batch_size: Annotated[int, Option(min=_AT_ONCE, help="Examples a step, a multiple of 4.")] = 16,
    out: Annotated[Path, Option(help="Folder for pictures and training.json.")] = Path("out/training"),
    model: Annotated[str, Option(help="The model to start from.")] = "expllm-135m",
) -> None:
    """Fine-tune the same model on the same examples in both ways, and print speed and loss."""
    faces = dataset.load(_prepared(out), Estimator.load())
    schedule = training.Schedule(steps, batch_size, warmup_steps=1, report_every=1)
    ours, reference = _ours(faces, model, schedule), _plain(faces, model, schedule)
    result = {
        "expllm": asdict(ours),
        "Transformers Trainer with PEFT": asdict(reference),
        "speed_up": ours.answer_tokens_per_s / reference.answer_tokens_per_s,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    (out / "training.json").write_text(json.dumps(result, indent=2) + "\n")
    _print(ours, reference)


def _prepared(out: Path) -> Path:
    options = ["--count", str(_FACES), "--seed", str(FIRST_PERSON), "--processes", "2", "--size-px", "192"]
    pictures.rendered(out / "faces", *options)
    if not (out / "prepared").exists():
        dataset.prepare([out / "faces"], out / "prepared")
    return out / "prepared"


def _task(faces: dataset.FaceSet, model: str) -> ExplainTask:
    checkpoint = resolve(model)
    loaded = ExpllmForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    torch.manual_seed(0)
    explainer = Explainer(loaded, lora_config())
    return ExplainTask(
        faces, explainer, tokenizer, checkpoint.preprocessing, projector_rate=_RATE, adapter_rate=_RATE
    )


def _ours(faces: dataset.FaceSet, model: str, schedule: training.Schedule) -> Speed:
    task, clock = _task(faces, model), [0.0]

    def note(step: int, metrics: training.Metrics) -> None:
        clock.append(metrics["elapsed_s"])

    with TemporaryDirectory() as folder:
        training.train(task, schedule, Path(folder), note)

    def loss(example: Example) -> Tensor:
        kept = {name: value[None] for name, value in example.items()}
        targets = kept.pop("labels")
        return task.model(**kept, targets=targets, weights=torch.ones_like(targets).float())["loss"]

    return _speed(task, schedule, clock, loss)


def _plain(faces: dataset.FaceSet, model: str, schedule: training.Schedule) -> Speed:
    """The usual way: PEFT around the model, pictures and padded texts four at a time, the Trainer's loop."""
    task = _task(faces, model)  # for the examples alone
    checkpoint = resolve(model)
    torch.manual_seed(0)
    plain = ExpllmForConditionalGeneration.from_pretrained(checkpoint.path, dtype=torch.bfloat16)
    plain.model.vision_tower.requires_grad_(False)
    plain.model.language_model = get_peft_model(plain.model.language_model, lora_config())
    plain.model.multi_modal_projector.requires_grad_(True)
    plain.lm_head.requires_grad_(False)
    clock = _Clock()
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=schedule.steps,
            per_device_train_batch_size=_AT_ONCE,
            gradient_accumulation_steps=schedule.batch_size // _AT_ONCE,
            learning_rate=_RATE,
            adam_beta1=schedule.adam_betas[0],
            adam_beta2=schedule.adam_betas[1],
            max_grad_norm=schedule.clip_norm,
            warmup_steps=schedule.warmup_steps,
            lr_scheduler_type="cosine",
            weight_decay=schedule.weight_decay,
            bf16=True,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            remove_unused_columns=False,
        )
        examples = _Examples(partial(_examples, task, schedule))
        Trainer(plain, arguments, _collate, train_dataset=examples, callbacks=[clock]).train()

    def loss(example: Example) -> Tensor:
        return plain(**_collate([example])).loss

    return _speed(task, schedule, clock.ends_s, loss)


def _speed(
    task: ExplainTask, schedule: training.Schedule, ends_s: list[float], loss: Callable[[Example], Tensor]
) -> Speed:
    steps = list(islice(_steps(task, schedule), _WARM, schedule.steps))
    tokens = sum(int((one["labels"] != sft.IGNORED).sum()) for step in steps for one in step)
    elapsed_s = ends_s[schedule.steps] - ends_s[_WARM]
    task.model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        losses = [float(loss(one)) for one in _held_out(task)]
    return Speed(tokens / elapsed_s, elapsed_s / len(steps), float(np.mean(losses)))


def _steps(task: ExplainTask, schedule: training.Schedule) -> Iterator[list[Example]]:
    """The examples of each step, as the loop of ours draws them."""
    for step in range(schedule.steps):
        indices = training.batch_indices(_FACES, schedule.batch_size, schedule.seed, step)
        yield list(_drawn(task, indices, np.random.default_rng((schedule.seed, step, 0))))


def _examples(task: ExplainTask, schedule: training.Schedule) -> Iterator[Example]:
    return (example for step in _steps(task, schedule) for example in step)


def _held_out(task: ExplainTask) -> list[Example]:
    """Other examples than the steps': of the same faces, drawn with a seed of their own."""
    return list(_drawn(task, np.arange(_HELD_OUT), np.random.default_rng(1)))


def _drawn(task: ExplainTask, indices: np.ndarray, rng: np.random.Generator) -> Iterator[Example]:
    for batch, _ in task.batches(indices, rng):
        for row in range(len(batch["input_ids"])):
            # An answer ends its sequence: what comes after is padding.
            end = int(torch.nonzero(batch["targets"][row] != sft.IGNORED).max()) + 1
            yield {
                "pixel_values": batch["pixel_values"][row],
                "input_ids": batch["input_ids"][row, :end],
                "labels": batch["targets"][row, :end],
            }


class _Examples(IterableDataset[Example]):
    """A stream of examples, as the Trainer's loader wants it."""

    def __init__(self, draw: Callable[[], Iterator[Example]]) -> None:
        self._draw = draw

    def __iter__(self) -> Iterator[Example]:
        return self._draw()


def _collate(examples: list[Example]) -> dict[str, Tensor]:
    ids = [example["input_ids"] for example in examples]
    labels = [example["labels"] for example in examples]
    return {
        "pixel_values": torch.stack([example["pixel_values"] for example in examples]),
        "input_ids": pad_sequence(ids, batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=sft.IGNORED),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
    }


class _Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends_s: list[float] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.ends_s.append(time.monotonic())

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends_s.append(time.monotonic())


def _print(ours: Speed, reference: Speed) -> None:
    printed = Table(title=f"Fine-tuning: {ours.answer_tokens_per_s / reference.answer_tokens_per_s:.2f} x")
    for column in ("", "answer tokens/s", "s a step", "loss"):
        printed.add_column(column, justify="right" if column else "left")
    for name, speed in (("expllm", ours), ("Transformers Trainer with PEFT", reference)):
        figures: Mapping[str, float] = asdict(speed)
        printed.add_row(name, *(f"{value:.3g}" for value in figures.values()))
    Console().print(printed)


if __name__ == "__main__":
    run_command(main)
