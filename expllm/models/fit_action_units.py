"""Fits the action-unit estimator: faces with their true action units -> weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from expllm import action_units
from expllm.action_units import Estimator
from expllm.errors import CallerError
from expllm.faces import BLENDSHAPES, Box, DetectedFace, iou
from expllm.facs import COLUMNS
from expllm.models import dataset
from expllm.models.landmarker import Landmarker
from expllm.photographs import Photograph

STEPS = 4_000
_SAME_FACE = 0.3
_LEAST_SPREAD = 0.01
"""Dead blendshapes are left in peace: their noise is not blown up to the size of the others."""
_HIDDEN = (192, 96)
_DROPOUT = 0.1
_BATCH_SIZE = 256
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_CROSS_ENTROPY_SHARE = 0.2

# How the inputs are disturbed, so that the network leans on no detail of the rendered head.
_WARP = 0.05
"""Any linear distortion of the landmarks: proportions of the face, errors of the pose."""
_LANDMARK_NOISE = 0.004
_BLENDSHAPE_GAIN, _BLENDSHAPE_NOISE = 0.15, 0.1
_GROUP_DROP_RATE = 0.2
"""How often all blendshapes, or else all landmarks, are withheld."""


@dataclass(frozen=True)
class KnownFace:
    """A picture and the truth about one face in it."""

    photograph: Photograph
    box_px: Box
    intensities: Mapping[str, float | None]
    person: int


@dataclass(frozen=True)
class Examples:
    """Faces that the landmarker found, with their true action units."""

    inputs: Float32[np.ndarray, "faces inputs"]
    intensities: Float32[np.ndarray, "faces units"]
    """NaN where the truth is not known."""
    people: Int64[np.ndarray, " faces"]

    def where(self, chosen: np.ndarray) -> "Examples":
        """The faces that a mask chooses."""
        return Examples(self.inputs[chosen], self.intensities[chosen], self.people[chosen])


def prepared(folder: Path) -> Examples:
    """Read the faces of a folder that dataset.prepare wrote.

    Raises:
        CallerError: the folder was not prepared.
    """
    rows = [row for batch in dataset.batches(folder) for row in batch]
    return Examples(
        np.array([action_units.features(dataset.detected(row["detected"])) for row in rows]),
        action_units.to_array([row["action_units"] for row in rows]),
        np.array([row["person"] for row in rows]),
    )


def detect(known: Iterable[KnownFace]) -> Examples:
    """Find the faces as labelling would; those that are not found are left out.

    Raises:
        CallerError: None is found.
    """
    inputs, intensities, people = [], [], []
    with Landmarker() as landmarker:
        for face in known:
            found = _nearest(landmarker.detect(face.photograph), face.box_px)
            if found is not None:
                inputs.append(action_units.features(found))
                intensities.append([face.intensities[column] for column in COLUMNS])
                people.append(face.person)
    if not inputs:
        raise CallerError("no face was found in the pictures")
    return Examples(np.array(inputs), np.array(intensities, np.float32), np.array(people))


def _nearest(found: list[DetectedFace], box_px: Box) -> DetectedFace | None:
    overlaps = [iou(face.box_px, box_px) for face in found]
    best = max(overlaps, default=0.0)
    return found[overlaps.index(best)] if best > _SAME_FACE else None


def joined(one: Examples, other: Examples) -> Examples:
    """Both sets of faces as one."""
    return Examples(
        np.concatenate([one.inputs, other.inputs]),
        np.concatenate([one.intensities, other.intensities]),
        np.concatenate([one.people, other.people]),
    )


def fit(examples: Examples, *, steps: int = STEPS, seed: int = 0) -> Estimator:
    """Fit the network on examples that are disturbed anew in every step."""
    torch.manual_seed(seed)
    mean = examples.inputs.mean(0)
    spread = np.maximum(examples.inputs.std(0), _LEAST_SPREAD)
    inputs, targets = torch.from_numpy(examples.inputs), torch.from_numpy(examples.intensities)
    network = _network((inputs.shape[1], *_HIDDEN, targets.shape[1]))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (_BATCH_SIZE,))
        standardised = (_disturbed(inputs[chosen]) - torch.from_numpy(mean)) / torch.from_numpy(spread)
        error = loss(network(_without_a_group(standardised)), targets[chosen])
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    layers = tuple((layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear)
    return Estimator(mean, spread, layers)


def _network(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size, following in pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU(), nn.Dropout(_DROPOUT)]
    return nn.Sequential(*layers[:-2])


def _disturbed(inputs: Tensor) -> Tensor:
    blendshapes = inputs[:, : len(BLENDSHAPES)]
    points = inputs[:, len(BLENDSHAPES) :].reshape(len(inputs), -1, 2)
    gain = 1 + _BLENDSHAPE_GAIN * torch.randn_like(blendshapes)
    blendshapes = blendshapes * gain + _BLENDSHAPE_NOISE * torch.randn_like(blendshapes)
    points = points @ (torch.eye(2) + _WARP * torch.randn(len(points), 2, 2))
    points = points + _LANDMARK_NOISE * torch.randn_like(points)
    return torch.cat([blendshapes, points.flatten(1)], 1)


def _without_a_group(standardised: Tensor) -> Tensor:
    """Set the blendshapes of some faces, and the landmarks of others, to their mean."""
    draws = torch.rand(len(standardised), 1)
    are_blendshapes = torch.arange(standardised.shape[1]) < len(BLENDSHAPES)
    withheld = torch.where(are_blendshapes, draws < _GROUP_DROP_RATE, draws > 1 - _GROUP_DROP_RATE)
    return standardised.masked_fill(withheld, 0)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Absolute error, which is least at the median: a movement is claimed where it is likelier than not.

    Cross-entropy alone would give the mean, and a little of everything on a face that could be at rest;
    a share of it keeps rare movements from being given up.
    """
    known = ~targets.isnan()
    outputs, targets = outputs[known], targets[known]
    error = nn.functional.l1_loss(outputs.sigmoid(), targets)
    return error + _CROSS_ENTROPY_SHARE * nn.functional.binary_cross_entropy_with_logits(outputs, targets)


def save(estimator: Estimator, path: Path) -> None:
    """Write the weights as Estimator.load reads them."""
    arrays: dict[str, Any] = {"mean": estimator.mean, "spread": estimator.spread}
    for index, (weight, bias) in enumerate(estimator.layers):
        arrays[f"weight{index}"] = weight.astype(np.float16)
        arrays[f"bias{index}"] = bias
    np.savez_compressed(path, **arrays)
