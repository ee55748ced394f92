from dataclasses import replace

import numpy as np
import pytest

from expllm.rendering.landmarks import LANDMARKS
from expllm.rendering.person import Person
from expllm.rendering.render import render_face
from expllm.rendering.scene import Scene

SIZE_PX = 64
PERSON = replace(Person.sample(3), asymmetry=0.0)
STRAIGHT = replace(Scene.sample(3), yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0)


def landmarks(action_units=None, **scene):
    """Landmark -> x, y of the person, in a picture large enough to measure in."""
    truth = render_face(PERSON, action_units or {}, replace(STRAIGHT, **scene), SIZE_PX).truth
    return dict(zip(LANDMARKS, truth.landmarks_px, strict=True))


def test_the_same_seed_gives_the_same_picture():
    first, second = (render_face(Person.sample(8), {"au12": 1.0}, Scene.sample(8), SIZE_PX) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.truth.action_units == second.truth.action_units


def test_another_seed_is_another_person():
    first, second = (render_face(Person.sample(seed), {}, STRAIGHT, SIZE_PX) for seed in (1, 2))
    assert not np.array_equal(first.pixels, second.pixels)


def test_the_same_person_can_make_another_face():
    resting = render_face(PERSON, {}, STRAIGHT, SIZE_PX)
    smiling = render_face(PERSON, {"au12": 0.8}, STRAIGHT, SIZE_PX)
    differing = {c for c, v in smiling.truth.action_units.items() if v != resting.truth.action_units[c]}
    assert {"au12", "au12_left", "au12_right"} <= differing <= {"au12", "au12_left", "au12_right", "au25"}
    changed = np.abs(smiling.pixels.astype(int) - resting.pixels).sum(2)
    assert changed.max() > 40
    assert np.median(changed) < 10


def test_what_is_true_can_be_rendered_again():
    truth = render_face(PERSON, {"au04": 0.7, "au09": 0.5, "au23": 0.4}, STRAIGHT, SIZE_PX).truth
    again = render_face(PERSON, truth.action_units, STRAIGHT, SIZE_PX).truth
    assert again.action_units == pytest.approx(truth.action_units, abs=0.02)


def test_a_smile_on_the_left_lifts_the_corner_on_the_viewers_right():
    resting, smiling = landmarks(), landmarks({"au12_left": 1.0})
    assert resting["lip corner left"][0] > resting["lip corner right"][0]
    assert resting["lip corner left"][1] - smiling["lip corner left"][1] > 0.5
    assert abs(resting["lip corner right"][1] - smiling["lip corner right"][1]) < 0.3


def test_a_positive_yaw_turns_the_face_to_the_persons_left():
    assert landmarks(yaw_deg=20)["nose tip"][0] > landmarks(yaw_deg=-20)["nose tip"][0] + 2


def test_a_positive_pitch_lifts_the_face():
    up, down = landmarks(pitch_deg=15), landmarks(pitch_deg=-15)
    assert (up["nose tip"] - up["nose root"])[1] < (down["nose tip"] - down["nose root"])[1]


def test_a_positive_roll_is_clockwise_for_the_viewer():
    tilted = landmarks(roll_deg=10)
    assert tilted["eye outer corner left"][1] > tilted["eye outer corner right"][1]


@pytest.mark.parametrize("seed", range(8))
def test_the_box_lies_in_the_picture_and_holds_the_landmarks(seed):
    truth = render_face(Person.sample(seed), {"au27": 1.0}, Scene.sample(seed), SIZE_PX).truth
    left, top, right, bottom = truth.box_px
    assert 0 <= left < right <= SIZE_PX
    assert 0 <= top < bottom <= SIZE_PX
    x, y = truth.landmarks_px.T
    assert np.all((x >= left) & (x <= right) & (y >= top) & (y <= bottom))


def test_the_picture_has_the_size_asked_for():
    assert render_face(PERSON, {}, STRAIGHT, 50).pixels.shape == (50, 50, 3)


def test_a_picture_can_be_without_colour():
    grey = render_face(PERSON, {}, replace(STRAIGHT, saturation=0.0, noise=0.0), SIZE_PX).pixels
    assert np.ptp(grey.astype(int), axis=2).max() <= 2


def test_a_coarse_camera_takes_a_smoother_picture():
    fine, coarse = (
        render_face(PERSON, {}, replace(STRAIGHT, detail=share, noise=0.0, blur_px=0.0), SIZE_PX).pixels
        for share in (1.0, 0.3)
    )
    assert (
        np.abs(np.diff(coarse.astype(int), axis=0)).mean() < np.abs(np.diff(fine.astype(int), axis=0)).mean()
    )


def test_a_bald_person_can_be_rendered():
    assert render_face(replace(PERSON, hair=""), {}, STRAIGHT, SIZE_PX).pixels.std() > 5
