from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expllm import action_units, faces
from expllm.action_units import NUM_INPUTS, Estimator, features, frontal
from expllm.facs import COLUMNS


@pytest.fixture(scope="module")
def estimator():
    return Estimator.load()


def head(seed=0):
    """Landmarks that could be a head's: x right, y up, z to the viewer, the eyes apart."""
    points = np.random.default_rng(seed).uniform(-1, 1, (faces.NUM_LANDMARKS, 3))
    points[list(faces.RIGHT_EYE)] = (-0.5, 0, 0)
    points[list(faces.LEFT_EYE)] = (0.5, 0, 0)
    return points


def seen(points, yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0, scale=100.0, shift_px=(200.0, 150.0)):
    """The face as detected when the head is turned, scaled and moved."""
    turned = points @ faces.rotation(yaw_deg, pitch_deg, roll_deg).T * scale * (1, -1, -1)
    turned[:, :2] += shift_px
    return faces.DetectedFace(
        box_px=(0, 0, 1, 1),
        score=1,
        landmarks_px=turned.astype(np.float32),
        blendshapes=np.full(len(faces.BLENDSHAPES), 0.1, np.float32),
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
        roll_deg=roll_deg,
    )


@settings(max_examples=30)
@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-90, 90), st.floats(20, 2000))
def test_features_do_not_depend_on_pose_size_and_place(yaw_deg, pitch_deg, roll_deg, scale):
    turned = seen(head(), yaw_deg, pitch_deg, roll_deg, scale, shift_px=(scale, 3 * scale))
    np.testing.assert_allclose(frontal(turned), head(), atol=2e-3)
    np.testing.assert_allclose(features(turned), features(seen(head())), atol=3e-3)


def test_features_have_one_length_and_type():
    assert features(seen(head())).shape == (NUM_INPUTS,)
    assert features(seen(head())).dtype == np.float32


def test_every_column_has_an_intensity(estimator):
    estimate = estimator.estimate(seen(head()))
    assert tuple(estimate) == COLUMNS
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in estimate.values())


@pytest.mark.parametrize(
    ("yaw_deg", "hidden", "visible"), [(65.0, "left", "right"), (-65.0, "right", "left")]
)
def test_the_side_that_is_away_is_not_measured(estimator, yaw_deg, hidden, visible):
    estimate = estimator.estimate(seen(head(), yaw_deg))
    assert estimate[f"au12_{hidden}"] is None and estimate[f"au14_{hidden}"] is None
    assert estimate[f"au12_{visible}"] is not None and estimate["au12"] is not None


def test_wild_landmarks_stay_within_range(estimator):
    wild = replace(seen(head()), landmarks_px=np.full((478, 3), 1e4, np.float32) * head().astype(np.float32))
    assert all(0 <= value <= 1 for value in estimator.estimate(wild).values())


def test_the_bundled_weights_fit_the_features(estimator):
    assert estimator.layers[0][0].shape[0] == len(estimator.mean) == NUM_INPUTS
    assert estimator.layers[-1][1].shape == (len(COLUMNS),)


def test_the_bundled_weights_are_small():
    assert action_units.BUNDLED.stat().st_size < 1_000_000


def test_several_faces_are_estimated_as_each_alone(estimator):
    several = np.stack([features(seen(head(seed))) for seed in range(3)])
    alone = np.concatenate([estimator.intensities(one[None]) for one in several])
    np.testing.assert_allclose(estimator.intensities(several), alone, atol=1e-5)
