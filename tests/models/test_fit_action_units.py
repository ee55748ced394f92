from dataclasses import replace

import numpy as np
import pytest

from expllm.action_units import NUM_INPUTS, Estimator
from expllm.errors import CallerError
from expllm.facs import COLUMNS
from expllm.models import fit_action_units
from expllm.models.fit_action_units import Examples, KnownFace
from expllm.photographs import Photograph
from expllm.rendering.person import Person
from expllm.rendering.render import render_face
from expllm.rendering.scene import Scene


def examples(num_faces=400, seed=0):
    """Faces whose smile is what the first two blendshapes say."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 1, (num_faces, NUM_INPUTS)).astype(np.float32)
    intensities = np.zeros((num_faces, len(COLUMNS)), np.float32)
    intensities[:, COLUMNS.index("au12")] = np.clip(inputs[:, :2].mean(1), 0, 1)
    return Examples(inputs, intensities, np.arange(num_faces) // 4)


def known(seed=3, **action_units):
    face = render_face(Person.sample(seed), action_units, replace(Scene.sample(seed), yaw_deg=0.0), 160)
    truth = face.truth
    return KnownFace(Photograph(face.pixels, 160, 160), truth.box_px, truth.action_units, seed)


def error(estimator, faces):
    smile = COLUMNS.index("au12")
    return np.abs(estimator.intensities(faces.inputs) - faces.intensities)[:, smile].mean()


def test_what_the_inputs_say_is_learnt():
    before, after = (
        error(fit_action_units.fit(examples(), steps=steps), examples(seed=1)) for steps in (1, 120)
    )
    assert after < 0.7 * before


def test_the_same_seed_gives_the_same_weights():
    one, other = (fit_action_units.fit(examples(), steps=3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.layers[0][0], other.layers[0][0])


def test_unknown_truth_teaches_nothing():
    faces = examples()
    faces.intensities[:, COLUMNS.index("au43")] = np.nan
    estimator = fit_action_units.fit(faces, steps=3)
    assert np.isfinite(estimator.layers[-1][0]).all()


def test_saved_weights_are_read_back(tmp_path):
    estimator = fit_action_units.fit(examples(), steps=3)
    fit_action_units.save(estimator, tmp_path / "weights.npz")
    again = Estimator.load(tmp_path / "weights.npz")
    inputs = examples().inputs
    np.testing.assert_allclose(again.intensities(inputs), estimator.intensities(inputs), atol=2e-3)


def test_a_rendered_face_is_found_with_its_truth():
    faces = fit_action_units.detect([known(), known(au12=0.8)])
    assert faces.inputs.shape == (2, NUM_INPUTS)
    assert faces.intensities[1, COLUMNS.index("au12")] > faces.intensities[0, COLUMNS.index("au12")]


def test_a_face_elsewhere_in_the_picture_is_left_out():
    elsewhere = replace(known(), box_px=(0, 0, 10, 10))
    assert len(fit_action_units.detect([known(), elsewhere]).people) == 1


def test_no_face_at_all_is_the_callers_mistake():
    with pytest.raises(CallerError, match="no face"):
        fit_action_units.detect([])


def test_a_folder_that_was_not_prepared_is_the_callers_mistake(tmp_path):
    with pytest.raises(CallerError, match="preparation"):
        fit_action_units.prepared(tmp_path)
