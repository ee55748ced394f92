"""Trains the face encoder on rendered faces: from a crop to action units, expression and head pose."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn import functional

from expllm.expressions import EXPRESSIONS
from expllm.facs import COLUMNS, EXPECTED_FROM
from expllm.models.augmentation import augment, centre, draw_moves, draw_shown, mirrored, moved
from expllm.models.dataset import MIRRORED_POINTS, POINTS, STORED_PX, FaceSet
from expllm.models.preprocessing import Preprocessing, to_pixels
from expllm.models.tower import AttentionPool, FaceTower, started_tower
from expllm.models.training import Metrics
from expllm.models.training_checkpoints import load_trained, newest_checkpoint
from expllm.unit_reader import EVIDENCE

POSE_SCALE_DEG = 30.0
_FIRST_BLOCKS = ("tower.rendered.blocks.0.", "tower.rendered.blocks.1.")
_EVIDENCE = [len(EXPRESSIONS), len(COLUMNS)]
_PLACES = [2, 2 * len(POINTS)]
"""How many numbers the heads read: yaw and pitch, places of landmarks."""


class SupervisedEncoder(nn.Module):
    """The encoder with the heads it is trained by: its own evidence, and where the face and its parts are.

    All targets are sums over tokens, so that a token must carry what is seen at its place: that is what
    the projector reads later.
    """

    def __init__(self, tower: FaceTower) -> None:
        super().__init__()
        self.tower = tower
        self.places = AttentionPool(tower.config.hidden_size - EVIDENCE, sum(_PLACES))

    def read(
        self, pixel_values: Tensor, shown: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pixels to logits of action units and expressions, pose / POSE_SCALE_DEG, landmarks.

        The vote of face-api's net is left out: what is trained here would learn to undo it.

        Args:
            shown: as the tower takes it.
        """
        tokens, evidence, _ = self.tower.read(pixel_values, shown)
        expressions, units = evidence.split(_EVIDENCE, dim=1)
        pose, points = self.places(tokens).split(_PLACES, dim=1)
        return units, expressions, pose, points.unflatten(1, (-1, 2))

    def forward(
        self,
        pixel_values: Tensor,
        action_units: Tensor,
        expressions: Tensor,
        pose: Tensor,
        points: Tensor,
        shown: Tensor,
    ) -> dict[str, Tensor]:
        """The loss over what is known of each face (NaN: unknown), and its parts."""
        unit_logits, expression_logits, read_pose, read_points = self.read(pixel_values, shown)
        known = ~action_units.isnan()
        truth = action_units.nan_to_num()
        # Cross-entropy against an intensity is lowest at the intensity itself.
        unit_losses = functional.binary_cross_entropy_with_logits(unit_logits, truth, reduction="none")
        unit_loss = (unit_losses * known).sum() / known.sum().clamp(min=1)
        expression_loss = functional.cross_entropy(expression_logits, expressions, label_smoothing=0.05)
        pose_loss = functional.smooth_l1_loss(read_pose, pose)
        error = ((unit_logits.sigmoid() - truth).abs() * known).sum() / known.sum().clamp(min=1)
        right = (expression_logits.argmax(dim=1) == expressions).float().mean()
        # Landmarks are learnt within a few passes, and with them where to look for the movements.
        point_error = (read_points - points).abs().mean()
        loss = 4 * unit_loss + expression_loss + pose_loss + 4 * point_error
        parts = {"unit_error": error, "accuracy": right, "pose_loss": pose_loss, "point_error": point_error}
        return {"loss": loss, **parts}


@dataclass(frozen=True)
class EncoderTask:
    """Rendered faces as batches for the SupervisedEncoder; half of them mirrored, all of them altered."""

    faces: FaceSet
    model: SupervisedEncoder
    learning_rate: float = 2e-3

    @property
    def num_examples(self) -> int:
        """How many faces there are."""
        return len(self.faces)

    def parameter_groups(self) -> list[tuple[list[str], float]]:
        """All that is not frozen; the first blocks, which see edges and colours, hardly leave photographs."""
        names = [name for name, p in self.model.named_parameters() if p.requires_grad]
        first = [name for name in names if name.startswith(_FIRST_BLOCKS)]
        others = [name for name in names if name not in first]
        return [(first, self.learning_rate / 4), (others, self.learning_rate)]

    def batches(
        self, indices: Int64[np.ndarray, " batch"], rng: np.random.Generator
    ) -> Iterator[tuple[dict[str, Tensor], float]]:
        """Altered crops and their truth, in one part."""
        mirror = rng.random(len(indices)) < 0.5
        moves = draw_moves(mirror, STORED_PX, rng)
        pixels = augment(self.faces.crops[indices], moves, rng)
        points = moved(torch.from_numpy(self.faces.points[indices]), moves)
        pose = self.faces.pose_deg[indices, :2] * np.where(mirror[:, None], [-1, 1], 1)
        batch = {
            "pixel_values": Preprocessing().normalise(pixels),
            "action_units": torch.from_numpy(mirrored(self.faces.action_units[indices], mirror)),
            "expressions": torch.from_numpy(self.faces.expressions[indices]),
            "pose": torch.from_numpy(pose.astype(np.float32) / POSE_SCALE_DEG),
            "points": torch.where(
                torch.from_numpy(mirror)[:, None, None], points[:, MIRRORED_POINTS], points
            ),
            "shown": draw_shown(len(indices), rng),
        }
        yield batch, 1.0


def evaluate(model: SupervisedEncoder, faces: FaceSet, batch_size: int = 256) -> Metrics:
    """Read unaltered faces; mean error of the action units, agreement with the labels, error of the pose."""
    model.eval()
    errors: list[Metrics] = []
    for start in range(0, len(faces), batch_size):
        part = faces.take(np.arange(start, min(start + batch_size, len(faces))))
        with torch.inference_mode():
            units, expressions, pose, _ = model.read(Preprocessing().normalise(to_pixels(centre(part.crops))))
        unit_errors = np.abs(units.sigmoid().numpy() - part.action_units)
        strong = unit_errors[part.action_units > EXPECTED_FROM]
        right = expressions.argmax(1).numpy() == part.expressions
        pose_errors = np.abs(pose.numpy() * POSE_SCALE_DEG - part.pose_deg[:, :2])
        errors.append(
            {
                "unit_error": float(np.nanmean(unit_errors)),
                "unit_error_shown": float(strong.mean()) if len(strong) else 0.0,
                "accuracy": float(right.mean()),
                "pose_error_deg": float(pose_errors.mean()),
            }
        )
    return {name: float(np.mean([e[name] for e in errors])) for name in errors[0]}


def trained_reader(folder: Path) -> SupervisedEncoder:
    """The encoder and its heads as a training left them in `folder`."""
    model = SupervisedEncoder(started_tower())
    load_trained(model, newest_checkpoint(folder))
    return model
