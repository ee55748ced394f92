import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from expllm.faces import BLENDSHAPES, crop, iou
from expllm.models.landmarker import Landmarker
from expllm.photographs import Photograph
from expllm.rendering.person import Person
from expllm.rendering.render import render_face
from expllm.rendering.scene import Scene


@pytest.fixture(scope="module")
def landmarker():
    with Landmarker() as landmarker:
        yield landmarker


def rendered(seed=3, size_px=160, action_units=None, **scene):
    level = {
        "yaw_deg": 0.0,
        "pitch_deg": 0.0,
        "roll_deg": 0.0,
        "gaze_left": 0.0,
        "gaze_up": 0.0,
        "noise": 0.0,
    }
    return render_face(
        Person.sample(seed), action_units or {}, replace(Scene.sample(seed), **{**level, **scene}), size_px
    )


def photograph(pixels):
    return Photograph(np.asarray(pixels), pixels.shape[1], pixels.shape[0])


def group(faces, columns):
    rows = [np.concatenate(faces[at : at + columns], 1) for at in range(0, len(faces), columns)]
    return photograph(np.concatenate(rows, 0))


@pytest.fixture(scope="module")
def portrait():
    return rendered()


def test_a_portrait_has_one_face_where_it_is(landmarker, portrait):
    (face,) = landmarker.detect(photograph(portrait.pixels))
    assert iou(face.box_px, portrait.truth.box_px) > 0.6
    assert 0.5 < face.score <= 1
    assert face.landmarks_px.shape == (478, 3)
    assert face.blendshapes.shape == (len(BLENDSHAPES),)


def test_a_reduced_photograph_gives_full_size_coordinates(landmarker, portrait):
    reduced = Photograph(portrait.pixels, width_px=640, height_px=640)
    (small,), (large,) = landmarker.detect(photograph(portrait.pixels)), landmarker.detect(reduced)
    np.testing.assert_allclose(large.landmarks_px, small.landmarks_px * 4, atol=0.01)
    assert large.box_px == pytest.approx([4 * side for side in small.box_px], abs=0.01)


def test_a_picture_without_a_face_has_none(landmarker):
    waves = np.sin(np.mgrid[:300, :400].sum(0) / 9) * 100 + 128
    assert landmarker.detect(photograph(np.repeat(waves.astype(np.uint8)[..., None], 3, 2))) == []


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (16, 2000), (2000, 16)])
def test_any_shape_of_picture_is_searched(landmarker, shape):
    assert landmarker.detect(photograph(np.full((*shape, 3), 128, np.uint8))) == []


def test_all_small_faces_of_a_group_are_found_from_the_left(landmarker):
    shots = [rendered(seed, size_px=128).pixels for seed in (3, 5, 8)]
    picture = group([shots[(row + column) % 3] for row in range(4) for column in range(5)], 5)
    found = landmarker.detect(picture)
    centres = [((f.box_px[0] + f.box_px[2]) / 2, (f.box_px[1] + f.box_px[3]) / 2) for f in found]
    assert len({(int(x // 128), int(y // 128)) for x, y in centres}) == len(found) == 20
    assert centres == sorted(centres)


def test_a_small_face_in_a_large_picture_is_found(landmarker, portrait):
    canvas = np.full((900, 1200, 3), 110, np.uint8)
    canvas[500:580, 900:980] = np.asarray(Image.fromarray(portrait.pixels).resize((80, 80)))
    (face,) = landmarker.detect(photograph(canvas))
    assert 900 < face.box_px[0] < face.box_px[2] < 980


@pytest.mark.parametrize("turn", [{"yaw_deg": 25.0}, {"pitch_deg": 15.0}, {"roll_deg": 15.0}])
def test_the_pose_has_the_tables_signs(landmarker, turn):
    ((name, degrees),) = turn.items()
    there, back = (rendered(**{name: sign * degrees}).pixels for sign in (1, -1))
    (one,), (other,) = landmarker.detect(photograph(there)), landmarker.detect(photograph(back))
    assert getattr(one, name) - getattr(other, name) == pytest.approx(2 * degrees, rel=0.35)


def test_a_smile_shows_in_the_blendshapes(landmarker):
    faces = (rendered(seed=9), rendered(seed=9, action_units={"au12": 0.9, "au06": 0.5}))
    (rest,), (smiling,) = (landmarker.detect(photograph(face.pixels)) for face in faces)
    corner = BLENDSHAPES.index("mouthSmileLeft")
    assert smiling.blendshapes[corner] > rest.blendshapes[corner] + 0.3


def test_the_crop_shows_the_face(landmarker, portrait):
    (face,) = landmarker.detect(photograph(portrait.pixels))
    cut = crop(portrait.pixels, face.landmarks_px, size=256)
    (again,) = landmarker.detect(photograph(cut))
    assert again.box_px[0] > 5 and again.box_px[2] < 251 and again.box_px[3] < 251


_IN_A_CYCLE = """
import gc
from expllm.models.landmarker import Landmarker

found = [Landmarker()]
found.append(found)
del found
gc.collect()
"""


def test_one_that_ends_in_a_cycle_of_garbage_ends():
    ended = subprocess.run([sys.executable, "-c", _IN_A_CYCLE], timeout=60, check=False)
    assert ended.returncode == 0
