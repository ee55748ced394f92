"""The encoder learns from altered crops whose truth is altered with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from expllm import action_units, faces
from expllm.errors import CallerError
from expllm.expressions import EXPRESSIONS, Expression
from expllm.facs import COLUMNS
from expllm.models import dataset, encoder_training
from expllm.models.augmentation import augment, centre, draw_moves, draw_shown, mirrored, moved, without_face
from expllm.models.dataset import POINTS, STORED_PX, FaceSet
from expllm.models.tower import FaceTower, FaceTowerConfig
from expllm.models.training import Schedule, train
from expllm.unit_reader import EVIDENCE

_TINY = FaceTowerConfig(hidden_size=32 + EVIDENCE)


def _faces(count: int = 12) -> FaceSet:
    rng = np.random.default_rng(0)
    units = rng.random((count, len(COLUMNS)), dtype=np.float32)
    return FaceSet(
        crops=rng.integers(0, 255, (count, 128, 128, 3), dtype=np.uint8),
        action_units=units,
        measured=units,
        expressions=rng.integers(0, 8, count),
        pose_deg=rng.normal(size=(count, 3)).astype(np.float32),
        peaks=np.ones(count, np.float32),
        persons=np.arange(count) // 2,
        points=rng.uniform(-0.5, 0.5, (count, len(POINTS), 2)).astype(np.float32),
    )


def test_unknown_intensities_do_not_count() -> None:
    model = encoder_training.SupervisedEncoder(FaceTower(_TINY)).eval()
    given = next(
        iter(encoder_training.EncoderTask(_faces(), model).batches(np.arange(4), np.random.default_rng(0)))
    )[0]
    units = given["action_units"]
    units[:, 3:] = torch.nan
    model(**given)["loss"].backward()
    gradient = model.tower.readers.evidence.weight.grad[len(EXPRESSIONS) :]
    assert gradient[:3].abs().max() > 0
    assert (gradient[3:] == 0).all()


def test_a_few_steps_lower_the_error(tmp_path: Path) -> None:
    losses: list[float] = []
    task = encoder_training.EncoderTask(_faces(), encoder_training.SupervisedEncoder(FaceTower(_TINY)))
    schedule = Schedule(steps=12, batch_size=12, warmup_steps=1, report_every=4)
    train(task, schedule, tmp_path, lambda step, metrics: losses.append(metrics["loss"]))
    assert losses[-1] < losses[0]


def test_altered_crops_have_the_size_the_encoder_reads_and_stay_in_range() -> None:
    rng = np.random.default_rng(1)
    altered = augment(_faces().crops, draw_moves(np.arange(12) % 2 == 0, STORED_PX, rng), rng)
    assert altered.shape == (12, 3, faces.CROP_PX, faces.CROP_PX)
    assert altered.min() >= 0 and altered.max() <= 1


def test_the_same_chance_alters_the_same_way() -> None:
    moves = torch.eye(2, 3).expand(12, 2, 3)
    one, other = (augment(_faces().crops, moves, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(one, other)


def test_a_landmark_moves_with_the_picture() -> None:
    crops = np.zeros((1, STORED_PX, STORED_PX, 3), np.uint8)
    crops[0, 40:44, 80:84] = 255  # a white patch whose centre is the landmark
    points = torch.tensor([[[2 * 82 / STORED_PX - 1, 2 * 42 / STORED_PX - 1]]])
    moves = draw_moves(np.array([True]), STORED_PX, np.random.default_rng(3))
    grid = functional.affine_grid(moves, [1, 3, faces.CROP_PX, faces.CROP_PX], align_corners=False)
    picture = functional.grid_sample(
        torch.from_numpy(crops).permute(0, 3, 1, 2) / 255, grid, align_corners=False
    )
    brightest = np.argwhere(picture[0, 0].numpy() > 0.5).mean(0)[::-1] + 0.5
    expected = (moved(points, moves)[0, 0].numpy() + 1) / 2 * faces.CROP_PX
    assert np.abs(brightest - expected).max() < 1


def test_mirroring_twice_gives_the_face_back() -> None:
    units = _faces().action_units
    both = np.ones(len(units), bool)
    assert np.array_equal(mirrored(mirrored(units, both), both), units)


def test_mirroring_moves_a_one_sided_smile_to_the_other_side() -> None:
    units = np.zeros((1, len(COLUMNS)), np.float32)
    units[0, COLUMNS.index("au12_left")] = 0.7
    turned = action_units.to_intensities(mirrored(units, np.array([True]))[0])
    assert turned["au12_left"] == 0 and turned["au12_right"] == pytest.approx(0.7)


def test_the_margin_lies_around_the_usual_crop() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    landmarks_px = np.zeros((faces.NUM_LANDMARKS, 3), np.float32)
    places = {faces.RIGHT_EYE: (125, 130), faces.LEFT_EYE: (175, 130), faces.MOUTH: (150, 184)}
    for pair, place in places.items():
        landmarks_px[list(pair), :2] = place
    wide = faces.STANDARD.wide.out_of(picture, landmarks_px)
    difference = centre(wide[None])[0].astype(float) - faces.crop(picture, landmarks_px)
    assert np.abs(difference).mean() < 2


def test_resting_and_smiling_faces_are_seen_most_and_faint_ones_least() -> None:
    faces = replace(_faces(800), peaks=np.tile(np.array([0.1, 1], np.float32), 400))
    often = faces.as_in_photographs()

    def share(seen: FaceSet, expression: Expression) -> float:
        return float((seen.expressions == EXPRESSIONS.index(expression)).mean())

    assert share(often, Expression.NEUTRAL) > 2 * share(faces, Expression.NEUTRAL)
    assert share(often, Expression.CONTEMPT) < 0.85 * share(faces, Expression.CONTEMPT)
    assert (often.peaks == 1).mean() > 0.7


def test_at_least_one_branch_of_every_face_is_shown() -> None:
    photographs, rendered, vote = draw_shown(400, np.random.default_rng(0)).T
    assert (photographs + rendered > 0).all() and (vote == 0).all()
    assert (photographs == 0).float().mean() < (rendered == 0).float().mean() < 0.4


def test_people_of_the_two_parts_of_a_split_differ() -> None:
    trained, held_out = _faces(40).split(0.2)
    assert not set(trained.persons) & set(held_out.persons)
    assert len(trained) + len(held_out) == 40


def test_pictures_without_a_face_have_the_size_the_encoder_reads_and_stay_in_range() -> None:
    rng = np.random.default_rng(1)
    altered = augment(_faces().crops, draw_moves(np.arange(12) % 2 == 0, STORED_PX, rng), rng)
    blank = without_face(altered, rng)
    assert blank.shape == altered.shape
    assert (blank - altered).abs().amax((1, 2, 3)).min() > 0.05
    assert 0 <= blank.min() <= blank.max() <= 1
    assert without_face(altered[:0], rng).shape == (0, 3, 112, 112)


def test_a_folder_without_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="expllm faces"):
        dataset.prepare([tmp_path], tmp_path / "prepared")


def test_a_folder_without_crops_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="preparation"):
        dataset.load(tmp_path)


def test_intensities_survive_the_way_through_an_array() -> None:
    row = {column: (None if column == "au01" else 0.5) for column in COLUMNS}
    assert action_units.to_intensities(action_units.to_array([row])[0]) == row
