"""Fits how much to trust an encoder's action units beside those of landmarks."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float16, Float32, UInt8

from expllm.facs import COLUMNS
from expllm.models.augmentation import centre
from expllm.models.dataset import FaceSet
from expllm.models.fit_action_units import loss
from expllm.models.preprocessing import Preprocessing, to_pixels
from expllm.models.tower import FaceTower
from expllm.unit_reader import UnitReader, logit, unit_logits

Crops = UInt8[np.ndarray, "faces size size 3"]
Features = Float16[np.ndarray, "faces tokens width"]

_BATCH = 256
_STEPS = 400
_FIRST_SHARES = (0.1, 0.9, 0.0)
"""Of landmarks, of features, and a constant: features have the smaller error of nearly all movements."""
_KEPT_NEAR = 0.002
"""How strongly shares are held at the first ones: rare movements have few faces to tell by."""


def fit(tower: FaceTower, held_out: FaceSet) -> UnitReader:
    """Shares fitted on people that the tower was not trained on."""
    logits = [unit_logits(features(tower, crops)) for crops in _batches(held_out)]
    return UnitReader(_shares(np.concatenate(logits), held_out))


def joined(faces: FaceSet, encode: Callable[[Crops], Features], reader: UnitReader) -> FaceSet:
    """The faces with what was measured on their landmarks joined with what their features show."""
    measured = np.split(faces.measured, range(_BATCH, len(faces), _BATCH))
    parts = zip(map(encode, _batches(faces)), measured, strict=True)
    return replace(faces, measured=np.concatenate([reader.join(*part) for part in parts]))


def features(tower: FaceTower, crops: Crops) -> Features:
    """What a tower in training gives for crops, as Encoder gives it for a checkpoint."""
    with torch.inference_mode():
        tokens = tower.eval()(Preprocessing().normalise(to_pixels(crops))).last_hidden_state
    return tokens.to(torch.float16).numpy()


def _batches(faces: FaceSet) -> Iterator[Crops]:
    for start in range(0, len(faces), _BATCH):
        yield centre(np.asarray(faces.crops[start : start + _BATCH]))


def _shares(logits: Float32[np.ndarray, "faces units"], faces: FaceSet) -> Float32[np.ndarray, "units 3"]:
    truth, measured = torch.from_numpy(faces.action_units), torch.from_numpy(logit(faces.measured))
    known = ~(truth.isnan() | measured.isnan())
    seen = torch.stack([measured.nan_to_num(), torch.from_numpy(logits), torch.ones_like(measured)])
    first = torch.tensor(_FIRST_SHARES)[:, None].expand(3, len(COLUMNS))
    shares = first.clone().requires_grad_()
    optimizer = torch.optim.Adam([shares], lr=0.02)
    for _ in range(_STEPS):
        joint = (shares[:, None] * seen).sum(0)
        error = loss(torch.where(known, joint, 0), torch.where(known, truth, torch.nan))
        optimizer.zero_grad()
        (error + _KEPT_NEAR * (shares - first).square().mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return shares.detach().T.numpy()
