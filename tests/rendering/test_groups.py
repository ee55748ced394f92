from itertools import pairwise

import numpy as np
import pytest

from expllm.rendering.groups import render_group


@pytest.mark.parametrize("count", [1, 5, 12])
def test_every_face_of_a_group_has_its_truth_from_the_left(count):
    group = render_group(4, count, largest_px=40)
    middles = [(face.truth.box_px[0] + face.truth.box_px[2]) / 2 for face in group.faces]
    assert len(middles) == count
    assert middles == sorted(middles)


def test_the_faces_of_a_group_lie_in_the_picture():
    group = render_group(4, 6, largest_px=40)
    height, width, _ = group.pixels.shape
    boxes = np.array([face.truth.box_px for face in group.faces])
    assert boxes.min() >= 0
    assert np.all(boxes[:, 2] <= width)
    assert np.all(boxes[:, 3] <= height)


def test_the_people_of_a_group_differ_in_size():
    heights = [f.truth.box_px[3] - f.truth.box_px[1] for f in render_group(5, 4, largest_px=40).faces]
    assert len({round(height) for height in heights}) > 1


def test_a_group_is_the_same_every_time():
    first, second = (render_group(6, 3, largest_px=40) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)


def test_neighbours_are_different_people():
    people = [face.person.seed for face in render_group(7, 4, largest_px=40).faces]
    assert all(one != other for one, other in pairwise(sorted(people)))


@pytest.mark.parametrize("seed", range(3))
def test_most_of_every_face_is_seen(seed):
    assert all(0.35 < face.visible <= 1 for face in render_group(seed, 7, largest_px=40).faces)


def test_some_faces_are_partly_hidden():
    faces = [face for seed in range(3) for face in render_group(seed, 9, largest_px=32).faces]
    assert any(face.visible < 0.98 for face in faces)
