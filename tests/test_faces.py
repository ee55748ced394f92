import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from expllm import faces

SIDE = st.floats(0, 1000)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE).map(
    lambda s: (min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]), max(s[1], s[3]))
)


def landmarks(right_eye, left_eye, mouth):
    """Landmarks of a face of which only what aligns it is known."""
    points = np.zeros((faces.NUM_LANDMARKS, 3), np.float32)
    points[list(faces.RIGHT_EYE), :2] = right_eye
    points[list(faces.LEFT_EYE), :2] = left_eye
    points[list(faces.MOUTH), :2] = mouth
    return points


def detected(left_px):
    return faces.DetectedFace(
        (left_px, 0, left_px + 10, 10), 1, np.zeros((478, 3), np.float32), np.zeros(51, np.float32), 0, 0, 0
    )


def posed(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0, scale=1.0):
    """MediaPipe's matrix of a head with this pose."""
    matrix = np.eye(4)
    matrix[:3, :3] = scale * faces.rotation(yaw_deg, pitch_deg, roll_deg)
    return matrix


def dotted(size_px, points_px, radius_px):
    """A grey picture with a soft light at each point."""
    y, x = np.mgrid[:size_px, :size_px] + 0.5
    lights = (np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 2 / radius_px**2) for at_x, at_y in points_px)
    return np.repeat(np.uint8(60 + 190 * sum(lights))[..., None], 3, axis=2)


def brightest(pixels, around, reach_px=13):
    """Centre of the light near a place."""
    x, y = (round(float(v)) for v in around)
    part = pixels[y - reach_px : y + reach_px, x - reach_px : x + reach_px, 0].astype(float) - 60
    rows, columns = np.mgrid[y - reach_px : y + reach_px, x - reach_px : x + reach_px] + 0.5
    part = np.maximum(part, 0)
    return (part * columns).sum() / part.sum(), (part * rows).sum() / part.sum()


def test_blendshapes_are_each_named_once():
    assert len(set(faces.BLENDSHAPES)) == len(faces.BLENDSHAPES) == 51


@given(BOX, BOX)
def test_overlap_is_a_symmetric_share(one, other):
    assert faces.iou(one, other) == faces.iou(other, one)
    assert 0 <= faces.iou(one, other) <= 1 + 1e-9


@given(BOX)
def test_a_box_overlaps_itself_wholly(box):
    assert faces.iou(box, box) == (1 if faces.area(box) > 0 else 0)


def test_boxes_side_by_side_do_not_overlap():
    assert faces.iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0


def test_half_a_box_overlaps_by_a_third():
    assert faces.iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)


def test_suppression_keeps_the_best_of_each_place():
    boxes = [(0, 0, 10, 10), (1, 0, 11, 10), (50, 0, 60, 10)]
    assert faces.suppress(boxes, [0.6, 0.9, 0.7], at_most=0.4) == [1, 2]


@given(st.lists(st.tuples(BOX, st.floats(0, 1)), max_size=8))
def test_boxes_that_stay_do_not_overlap_by_more_than_allowed(found):
    boxes = [box for box, _ in found]
    kept = faces.suppress(boxes, [score for _, score in found], at_most=0.3)
    assert all(faces.iou(boxes[i], boxes[j]) <= 0.3 for i in kept for j in kept if i != j)


def test_no_boxes_leave_none():
    assert faces.suppress([], [], at_most=0.3) == []


def test_a_square_is_around_the_centre():
    assert faces.square((10, 20, 30, 24), times=2) == (0, 2, 40, 42)


def test_bounds_end_with_the_photograph():
    points = np.array([[-5.0, 3, 0], [200, 40, 1]])
    assert faces.bounds(points, 100, 50) == (0, 3, 100, 40)


def test_faces_are_numbered_from_the_left():
    ordered = faces.from_the_left([detected(50), detected(0), detected(20)])
    assert [face.box_px[0] for face in ordered] == [0, 20, 50]


@given(st.floats(-80, 80), st.floats(-80, 80), st.floats(-170, 170), st.floats(0.5, 30))
def test_the_pose_is_read_from_the_matrix(yaw_deg, pitch_deg, roll_deg, scale):
    pose = faces.pose_deg(posed(yaw_deg, pitch_deg, roll_deg, scale))
    assert pose == pytest.approx((yaw_deg, pitch_deg, roll_deg), abs=1e-3)


TO_THE_VIEWERS_RIGHT, UP, TO_THE_VIEWER = np.eye(3)


def test_yaw_above_0_shows_the_viewers_right_side_the_nose():
    assert faces.rotation(30, 0, 0) @ TO_THE_VIEWER @ TO_THE_VIEWERS_RIGHT > 0


def test_pitch_above_0_lifts_the_nose():
    assert faces.rotation(0, 30, 0) @ TO_THE_VIEWER @ UP > 0


def test_roll_above_0_tilts_the_head_clockwise():
    assert faces.rotation(0, 0, 30) @ UP @ TO_THE_VIEWERS_RIGHT > 0


@pytest.mark.parametrize("scale", [0.3, 1, 1.7, 6])
@pytest.mark.parametrize("roll_deg", [-40, 0, 25])
def test_eyes_and_mouth_come_to_the_same_place(scale, roll_deg):
    size_px, place = 112, faces._TEMPLATE * 112
    turn = np.exp(1j * math.radians(roll_deg)) * scale
    points = (place @ [1, 1j] - 56 * (1 + 1j)) * turn + 450 * (1 + 1j)
    points_px = np.stack([points.real, points.imag], 1)
    picture = dotted(900, points_px, radius_px=3 * max(scale, 0.4))
    cut = faces.crop(picture, landmarks(*points_px), size_px)
    for expected in place:
        assert brightest(cut, expected) == pytest.approx(tuple(expected), abs=0.3)


def test_a_crop_has_the_size_asked_for():
    marks = landmarks((40, 40), (60, 40), (50, 61))
    assert faces.crop(np.zeros((100, 100, 3), np.uint8), marks, size=64).shape == (64, 64, 3)


def test_a_crop_is_black_beyond_the_photograph():
    marks = landmarks((2, 40), (22, 40), (12, 61))
    cut = faces.crop(np.full((100, 100, 3), 255, np.uint8), marks)
    assert cut[:, :10].max() == 0
    assert cut[60, 80].min() == 255


def test_a_face_outside_the_photograph_gives_a_black_crop():
    marks = landmarks((-500, 40), (-480, 40), (-490, 61))
    assert faces.crop(np.full((100, 100, 3), 255, np.uint8), marks).max() == 0


def test_a_crop_far_smaller_than_the_face_folds_no_detail_over():
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::2] = 255
    marks = landmarks((600, 700), (1000, 700), (800, 1130))
    inside = faces.crop(stripes, marks, size=64)[8:-8, 8:-8]
    assert inside.std() < 6


def test_a_crop_at_its_own_scale_changes_nothing_but_a_little_sharpness():
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8))
    pixels = np.asarray(smooth.resize((112, 112), Image.Resampling.BICUBIC))
    cut = faces.crop(pixels, landmarks(*(faces._TEMPLATE * 112)))
    assert np.abs(cut.astype(int) - pixels).mean() < 2


def test_a_picture_of_a_face_alone_goes_into_the_square_crop_whole():
    pixels = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    found = landmarks((34, 40), (66, 40), (50, 74))
    found[0], found[1] = (4, 5, 0), (96, 97, 0)
    assert (faces.square_crop(pixels, found, 100) == pixels).all()


@pytest.mark.parametrize(("height", "width"), [(40, 100), (100, 40)])
def test_what_a_square_crop_lacks_is_grey_brown_on_both_sides(height, width):
    pixels = np.zeros((height, width, 3), np.uint8)
    found = np.zeros((478, 3))
    found[0] = (width, height, 0)
    made = faces.square_crop(pixels, found, 100)
    upright = made if width > height else made.transpose(1, 0, 2)
    assert (upright[[0, 28, 71, 99], 50] == (123, 117, 104)).all()
    assert (upright[32:68] == 0).all()


def test_a_square_crop_is_about_the_face_and_a_little_wider():
    pixels = np.zeros((400, 600, 3), np.uint8)
    pixels[150:250, 250:350] = 255
    found = np.tile((300.0, 200.0, 0.0), (478, 1))
    found[0], found[1] = (250, 150, 0), (350, 250, 0)
    made = faces.square_crop(pixels, found, 120)
    assert (
        (made[12:108, 12:108] == 255).all() and (made[[2, 117]] == 0).all() and (made[:, [2, 117]] == 0).all()
    )


def test_a_face_outside_the_photograph_gives_a_square_of_grey_brown():
    made = faces.square_crop(np.zeros((50, 50, 3), np.uint8), np.full((478, 3), 90.0), 8)
    assert (made == (123, 117, 104)).all()


@pytest.mark.parametrize("kind", faces.CROPS)
def test_a_cut_has_the_size_asked_for(kind):
    found = landmarks((34, 40), (66, 40), (50, 74))
    assert faces.Cut(kind, 30).out_of(np.zeros((100, 100, 3), np.uint8), found).shape == (30, 30, 3)


@given(st.floats(0.1, 10), st.floats(-3, 3), st.floats(-500, 500), st.floats(-500, 500))
def test_a_similarity_is_found_again(scale, angle, x, y):
    turn, shift = scale * np.exp(1j * angle), complex(x, y)
    start = np.array([[0.0, 0], [3, 1], [1, 4]])
    end = turn * (start @ [1, 1j]) + shift
    found = faces.similarity(start, np.stack([end.real, end.imag], 1))
    assert found == pytest.approx((turn, shift), abs=1e-6)
