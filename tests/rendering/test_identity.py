"""Who a person is must never read as a movement of the face."""

from dataclasses import replace

import numpy as np
import pytest

from expllm.facs import COLUMNS
from expllm.rendering import head, rig
from expllm.rendering.glasses import Glasses
from expllm.rendering.landmarks import LANDMARKS
from expllm.rendering.paint import Paint, layer
from expllm.rendering.person import Person
from expllm.rendering.render import render_face
from expllm.rendering.scene import Scene
from expllm.rendering.shapes import resting_vertices

SIZE_PX = 64
PEOPLE = [replace(Person.sample(seed), asymmetry=0.0) for seed in range(4)]
MOVED = {"au01": 0.6, "au04": 0.3, "au06": 0.5, "au12": 0.7, "au15": 0.2, "au43": 0.1}
ROUND_GLASSES = Glasses(0.23, 0.17, 2.5, 0.015, (0.01, 0.01, 0.01), 0.3, 0.5)
CHANGES = {
    "glasses": {"glasses": ROUND_GLASSES},
    "a cap": {"headwear": "cap", "hair": ""},
    "a scarf": {"headwear": "scarf", "hair": ""},
    "a beard": {"paint": Paint(seed=1, beard="full", beard_density=0.9)},
    "make-up": {"paint": Paint(seed=1, lipstick=0.8, eye_shadow=0.6, blush=0.7, eyeliner=0.8)},
    "a fringe": {"paint": Paint(seed=1, fringe=0.9)},
    "other folds": {"lasting_folds": (("au01", 0.5), ("au12", 0.6))},
    "thin brows": {"brow_thickness": 0.6, "brow_density": 0.5},
}


def plain(person):
    return replace(person, glasses=None, headwear="", paint=Paint(seed=0), lasting_folds=())


def shown(person, action_units=MOVED):
    return render_face(person, action_units, Scene.sample(3), SIZE_PX)


def resting(seed):
    person = Person.sample(seed)
    return resting_vertices(person.shape, person.rest)


@pytest.mark.parametrize("person", PEOPLE)
def test_whoever_rests_shows_no_movement(person):
    assert set(shown(person, {}).truth.action_units.values()) == {0.0}


@pytest.mark.parametrize("person", PEOPLE[1:])
def test_the_same_movements_are_the_same_truth_on_everyone(person):
    one, other = shown(PEOPLE[0]).truth.action_units, shown(person).truth.action_units
    measured = {"au25"}  # how far the lips part depends on the lips
    assert {c: one[c] for c in COLUMNS if c not in measured} == pytest.approx(
        {c: other[c] for c in COLUMNS if c not in measured}
    )


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_worn_or_painted_changes_the_picture_and_not_the_truth(change):
    bare, covered = plain(PEOPLE[1]), replace(plain(PEOPLE[1]), **change)
    one, other = shown(bare), shown(covered)
    assert other.truth.action_units == one.truth.action_units
    assert np.abs(one.pixels.astype(int) - other.pixels).max() > 10


@pytest.mark.parametrize("seed", range(12))
def test_lips_are_just_closed_at_rest(seed):
    assert rig.lip_gap(resting(seed)) == pytest.approx(-0.018, abs=0.004)


def test_people_rest_differently():
    def measures(seed):
        vertices = resting(seed)
        height = {name: float(vertices[i, 1]) for name, i in LANDMARKS.items()}
        return (
            height["brow middle left"] - height["eye inner corner left"],
            height["upper lid middle left"] - height["lower lid middle left"],
            height["lip corner left"] - height["upper lip bottom"],
        )

    brow, opening, corner = np.std([measures(seed) for seed in range(40)], axis=0)
    assert brow > 0.015
    assert opening > 0.005
    assert corner > 0.008


def test_a_frown_leaves_a_gap_between_the_brows():
    loaded = head.load()
    frown = head.moved(loaded.vertices, loaded.movements, rig.weights({"au04": 1.0}))
    ends = [frown[LANDMARKS[f"brow inner end {side}"]] for side in ("left", "right")]
    before = [loaded.vertices[LANDMARKS[f"brow inner end {side}"]] for side in ("left", "right")]
    assert 0.6 * (before[0][0] - before[1][0]) < ends[0][0] - ends[1][0] < before[0][0] - before[1][0]
    assert ends[0][1] < before[0][1] - 0.05


def test_a_bare_skin_has_no_paint():
    assert not layer(Paint(seed=5)).any()


def test_lipstick_covers_the_lips_alone():
    alpha = layer(Paint(seed=5, lipstick=0.8))[..., 3]
    assert 0.005 < np.mean(alpha > 0.4) < 0.05
