"""Fine-tuning learns answers alone, in groups of like length, and its adapter merges exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoTokenizer

from expllm import cot, prompt, sft
from expllm.evaluation.calibration import fit_temperature
from expllm.expressions import Expression
from expllm.facs import COLUMNS
from expllm.models import assembly
from expllm.models.architecture import ExpllmForConditionalGeneration
from expllm.models.dataset import POINTS, FaceSet
from expllm.models.explainer import Explainer, lora_config
from expllm.models.finetuning import ExplainTask, image_encoder
from expllm.models.training_faces import TrainingFaces
from expllm.tables import EXAMPLES


@pytest.fixture
def explainer(tiny_checkpoint: Path) -> Explainer:
    torch.manual_seed(0)
    model = ExpllmForConditionalGeneration.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    explainer = Explainer(model, lora_config(rank=4))
    for name, parameter in explainer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return explainer.eval()


@pytest.fixture
def task(tiny_checkpoint: Path, explainer: Explainer) -> ExplainTask:
    rng = np.random.default_rng(0)
    units = np.where(rng.random((8, len(COLUMNS))) < 0.2, 0.6, 0).astype(np.float32)
    faces = FaceSet(
        crops=rng.integers(0, 255, (8, 128, 128, 3), dtype=np.uint8),
        action_units=units,
        measured=units,
        expressions=rng.integers(0, 8, 8),
        pose_deg=np.zeros((8, 3), np.float32),
        peaks=np.ones(8, np.float32),
        persons=np.arange(8),
        points=np.zeros((8, len(POINTS), 2), np.float32),
    )
    return ExplainTask(faces, explainer, AutoTokenizer.from_pretrained(tiny_checkpoint))


def test_the_parts_of_a_step_hold_every_face_once(task: ExplainTask) -> None:
    parts = list(task.batches(np.arange(8), np.random.default_rng(0)))
    assert sum(len(batch["input_ids"]) for batch, _ in parts) == 8
    assert sum(share for _, share in parts) == pytest.approx(1)


def test_prompts_are_no_targets(task: ExplainTask) -> None:
    for batch, _ in task.batches(np.arange(8), np.random.default_rng(0)):
        image_id = task.model.config.image_token_index
        assert ((batch["input_ids"] == image_id).sum(dim=1) == 49).all()
        assert (batch["targets"][batch["input_ids"] == image_id] == sft.IGNORED).all()


def test_the_loss_is_the_mean_over_faces_of_the_mean_over_their_answers(task: ExplainTask) -> None:
    batch, _ = next(iter(task.batches(np.arange(8), np.random.default_rng(0))))
    with torch.inference_mode():
        together = task.model(**batch)["loss"]
        alone = [
            task.model(**{name: tensor[[place]] for name, tensor in batch.items()})["loss"]
            for place in range(len(batch["input_ids"]))
        ]
    assert together == pytest.approx(torch.stack(alone).mean().item(), rel=1e-4)


def test_only_projector_and_adapter_are_trained(task: ExplainTask) -> None:
    (projector, fast), (adapter, slow) = task.parameter_groups()
    assert all(name.startswith("projector.") for name in projector)
    assert all("lora_" in name for name in adapter)
    assert fast > slow


def test_a_merged_adapter_answers_as_the_adapted_model(
    tiny_checkpoint: Path, explainer: Explainer, task: ExplainTask
) -> None:
    batch, _ = next(iter(task.batches(np.arange(4), np.random.default_rng(0))))
    pixels, ids = batch["pixel_values"][:1], batch["input_ids"][:1]
    plain = ExpllmForConditionalGeneration.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()
    assembly.merge(plain.model.language_model, assembly.adapter_tensors(explainer.language_model))
    with torch.inference_mode():
        expected = explainer.next_token_logits(pixels, ids)
        assert torch.allclose(plain(input_ids=ids, pixel_values=pixels).logits[:, -1], expected, atol=1e-4)


def test_the_image_takes_its_places_in_the_prompt(tiny_checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    ids = image_encoder(tokenizer, 49)(prompt.explain(None))
    assert ids.count(tokenizer.image_token_id) == 49


def test_calibration_cools_overconfident_scores() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, 500)
    seen = np.where(rng.random(500) < 0.7, truth, rng.integers(0, 8, 500))
    overconfident = np.where(np.arange(8) == seen[:, None], 0.0, -20.0).astype(np.float32)
    assert fit_temperature(overconfident, truth) > 4


class _Smirks:
    """A stream of faces whose left lip corner alone is up, and whose text says so."""

    num_examples = None
    text = cot.render(
        cot.ChainOfThought(
            "strong left lip corner puller.", "It says contempt.", "Contempt.", Expression.CONTEMPT
        )
    )

    def take(self, indices: np.ndarray) -> TrainingFaces:
        units = {**dict.fromkeys(COLUMNS, 0.0), "au12": 0.9, "au12_left": 0.9}
        row = {
            "expression": "contempt",
            "crop": bytes(128 * 128 * 3),
            "crop_px": 128,
            "measured": units,
            "text": self.text,
        }
        return TrainingFaces.of(pa.Table.from_pylist([row] * len(indices), schema=EXAMPLES))


def test_a_mirrored_picture_has_its_text_and_its_hints_mirrored(task: ExplainTask) -> None:
    smirks = replace(task, faces=_Smirks(), label_only_rate=0.0)
    asked = [
        task.tokenizer.decode(ids)
        for batch, _ in smirks.batches(np.arange(64), np.random.default_rng(0))
        for ids in batch["input_ids"]
    ]
    told = [text for text in asked if "strong left lip" in text or "strong right lip" in text]
    for side, other in (("left", "right"), ("right", "left")):
        mentions = [text for text in told if f"assistant\n**Key Observations:** strong {side} lip" in text]
        assert len(mentions) > 8
        assert not any(f"strong {other} lip" in text for text in mentions), (
            "hints and answer agree on the side"
        )
