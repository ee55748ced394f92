"""How much landmarks and features are trusted is learnt from people held out."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from expllm.facs import COLUMNS
from expllm.models import fit_unit_reader
from expllm.models.dataset import POINTS, FaceSet
from expllm.models.tower import FaceTower, FaceTowerConfig
from expllm.unit_reader import EVIDENCE


def tower() -> FaceTower:
    torch.manual_seed(0)
    return FaceTower(FaceTowerConfig(hidden_size=32 + EVIDENCE))


def faces(count: int = 300) -> FaceSet:
    """Faces whose landmarks tell every movement exactly, while nothing can be seen in their crops."""
    rng = np.random.default_rng(0)
    units = rng.random((count, len(COLUMNS)), dtype=np.float32)
    return FaceSet(
        crops=np.zeros((count, 128, 128, 3), np.uint8),
        action_units=units,
        measured=units,
        expressions=np.zeros(count, np.int64),
        pose_deg=np.zeros((count, 3), np.float32),
        points=np.zeros((count, len(POINTS), 2), np.float32),
        peaks=np.ones(count, np.float32),
        persons=np.arange(count),
    )


def test_the_better_reader_gets_the_larger_share() -> None:
    by_landmarks, by_features, _ = fit_unit_reader.fit(tower(), faces()).shares.T
    assert (by_landmarks > 0.6).all()
    assert (by_landmarks > by_features).all()


def test_movements_that_landmarks_do_not_give_are_left_out() -> None:
    known = faces()
    blind = replace(known, measured=np.full_like(known.measured, np.nan))
    assert np.isfinite(fit_unit_reader.fit(tower(), blind).shares).all()


def test_joined_faces_keep_everything_but_what_was_measured() -> None:
    model, before = tower(), faces(300)
    reader = fit_unit_reader.fit(model, before)
    after = fit_unit_reader.joined(before, partial(fit_unit_reader.features, model), reader)
    assert after.measured.shape == before.measured.shape
    assert after.crops is before.crops
    assert np.abs(after.measured - before.action_units).mean() < np.abs(0.5 - before.action_units).mean()
