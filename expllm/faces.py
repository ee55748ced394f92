"""Faces in a photograph: what is known of each, the geometry of boxes and head pose, and the aligned crop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

Box = tuple[float, float, float, float]
"""left, top, right, bottom."""

BLENDSHAPES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""The landmarker's face units in its order, which is ARKit's set by alphabet; sides are the person's."""

NUM_LANDMARKS = 478
RIGHT_EYE = (33, 133)
"""Corners of the person's right eye among the landmarks: on the viewer's left."""
LEFT_EYE = (362, 263)
MOUTH = (61, 291)

ALIGNED, SQUARE = "similarity of eyes and mouth", "box padded to square"
CROPS = (ALIGNED, SQUARE)
"""The ways a face can be cut out, by the names that a checkpoint's preprocessing.json has for them."""
CROP_PX = 112
_TEMPLATE = np.array([[0.36, 0.32], [0.64, 0.32], [0.50, 0.62]])
"""Where right eye, left eye and mouth lie, in shares of the crop.

The eyes are .28 apart, so that raised brows (top at about .15) and a chin under a dropped jaw (up to about
.97, at rest .83) are inside, with the cheeks' outline.
"""

_SURROUNDINGS = 1.2
"""Side of a square crop for one of the face's box: some hair and chin, and a picture of a face whole."""
_GREY_BROWN = (123, 117, 104)


@dataclass(frozen=True)
class DetectedFace:
    """One face of a photograph; coordinates are those of the full-size, upright photograph."""

    box_px: Box
    """Bounds of the landmarks within the photograph: from the forehead to the chin."""
    score: float
    """The face detector's confidence, 0..1."""
    landmarks_px: Float32[np.ndarray, "478 3"]
    """x right, y down, z away from the viewer on about the same scale."""
    blendshapes: Float32[np.ndarray, "51"]
    """0..1, in the order of BLENDSHAPES."""
    yaw_deg: float
    """Above 0 the person turns to their left, the viewer's right."""
    pitch_deg: float
    """Above 0 the person looks up."""
    roll_deg: float
    """Above 0 the head is tilted clockwise, as seen by the viewer."""


def area(box: Box) -> float:
    """The area of a box; 0 where it is inside out."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1; 0 where both are empty."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    shared = area((left, top, right, bottom))
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def suppress(boxes: Sequence[Box], scores: Sequence[float], at_most: float) -> list[int]:
    """Non-maximum suppression: the boxes that stay, the best first.

    Args:
        at_most: Largest intersection over union with a better box.
    """
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[index], boxes[better]) <= at_most for better in kept):
            kept.append(index)
    return kept


def square(box: Box, times: float) -> Box:
    """The square around a box's centre whose side is `times` the box's longer side."""
    half = max(box[2] - box[0], box[3] - box[1]) * times / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return (x - half, y - half, x + half, y + half)


def bounds(points: Float[np.ndarray, "points dims"], width_px: float, height_px: float) -> Box:
    """The smallest box around points, kept within the photograph."""
    left, top = np.clip(points[:, :2].min(0), 0, (width_px, height_px))
    right, bottom = np.clip(points[:, :2].max(0), 0, (width_px, height_px))
    return (float(left), float(top), float(right), float(bottom))


def from_the_left(found: Sequence[DetectedFace]) -> list[DetectedFace]:
    """Faces in the order of the table: by the centre of the box, from the left."""
    return sorted(found, key=lambda face: (face.box_px[0] + face.box_px[2], face.box_px[1]))


def pose_deg(matrix: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a head from its facial transformation matrix.

    Args:
        matrix: MediaPipe's: canonical face to camera, x right, y up, z towards the viewer.
    """
    turned = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    yaw = math.atan2(turned[0, 2], turned[2, 2])
    pitch = math.asin(float(np.clip(turned[1, 2], -1, 1)))
    roll = -math.atan2(turned[1, 0], turned[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float32[np.ndarray, "3 3"]:
    """The rotation that gives a head this pose; pose_deg's way back, in the same axes."""
    y, x, z = math.radians(yaw_deg), -math.radians(pitch_deg), -math.radians(roll_deg)
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    about_z = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    turned: Float32[np.ndarray, "3 3"] = (about_y @ about_x @ about_z).astype(np.float32)
    return turned


def anchors(landmarks_px: Float[np.ndarray, "478 dims"]) -> Float[np.ndarray, "3 2"]:
    """Centres of the right eye, the left eye and the mouth: what a face is aligned by."""
    return np.stack([landmarks_px[list(pair), :2].mean(0) for pair in (RIGHT_EYE, LEFT_EYE, MOUTH)])


def crop(
    pixels: UInt8[np.ndarray, "height width 3"],
    landmarks_px: Float[np.ndarray, "478 dims"],
    size: int = CROP_PX,
    margin_px: int = 0,
) -> UInt8[np.ndarray, "wide wide 3"]:
    """Cut a face out upright, at a fixed place and scale; black where the photograph ends.

    Args:
        landmarks_px: In the coordinates of `pixels`.
        margin_px: How much more is shown on each side, at the same scale.
    """
    turn, shift = alignment(landmarks_px, size)
    size, shift = size + 2 * margin_px, shift - turn * complex(margin_px, margin_px)
    # The photograph is reduced to between one and two pixels per crop pixel by exact averages, then warped
    # at twice the size and halved: no detail folds over, whatever the face's size.
    shrink = max(1, int(abs(turn)))
    left, top, right, bottom = _visible(turn, shift, size, pixels.shape[1], pixels.shape[0])
    if left >= right or top >= bottom:
        return np.zeros((size, size, 3), np.uint8)
    source = Image.fromarray(pixels[top:bottom, left:right]).reduce(shrink)
    turn, shift = turn / shrink, (shift - complex(left, top)) / shrink
    inverse = (turn.real / 2, -turn.imag / 2, shift.real, turn.imag / 2, turn.real / 2, shift.imag)
    warped = source.transform((2 * size, 2 * size), Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC)
    return np.asarray(warped.reduce(2))


def square_crop(
    pixels: UInt8[np.ndarray, "height width 3"],
    landmarks_px: Float[np.ndarray, "478 dims"],
    size: int,
) -> UInt8[np.ndarray, "size size 3"]:
    """Cut out a square about a face's box; what the photograph lacks of it is grey-brown on both sides.

    A photograph that shows the face and little else goes in whole.

    Args:
        landmarks_px: In the coordinates of `pixels`.

    Source:
        The published ExpLLM reads pictures of one face, padded and resized so; how much around the face
        they show is not published.
    """
    height, width = pixels.shape[:2]
    wanted = square(bounds(landmarks_px, width, height), _SURROUNDINGS)
    left, top = (max(0, round(edge)) for edge in wanted[:2])
    right, bottom = min(width, round(wanted[2])), min(height, round(wanted[3]))
    side = max(right - left, bottom - top, 1)
    padded = np.full((side, side, 3), _GREY_BROWN, np.uint8)
    if left < right and top < bottom:
        x, y = (side - right + left) // 2, (side - bottom + top) // 2
        padded[y : y + bottom - top, x : x + right - left] = pixels[top:bottom, left:right]
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Cut:
    """How a model wants faces cut out: one of CROPS, and how many pixels wide and high."""

    kind: str = ALIGNED
    size_px: int = CROP_PX
    margin_px: int = 0
    """How much more is cut out on each side of an aligned face, so that a training can move and turn it."""

    @property
    def wide(self) -> "Cut":
        """The same with the margin that trainings move and turn faces in; a square has its surroundings."""
        return replace(self, margin_px=self.size_px // 14) if self.kind == ALIGNED else self

    @property
    def stored_px(self) -> int:
        """Pixels from edge to edge, margin included."""
        return self.size_px + 2 * self.margin_px

    def out_of(
        self, pixels: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 dims"]
    ) -> UInt8[np.ndarray, "wide wide 3"]:
        """Cut one face out; landmarks are in the coordinates of `pixels`."""
        if self.kind == ALIGNED:
            return crop(pixels, landmarks_px, self.size_px, self.margin_px)
        return square_crop(pixels, landmarks_px, self.size_px)


STANDARD = Cut()
"""How faces are cut out for the models that are trained here."""


def alignment(landmarks_px: Float[np.ndarray, "478 dims"], size: int = CROP_PX) -> tuple[complex, complex]:
    """Where a crop lies in the photograph: (a, b), so that x + iy of the crop is at a (x + iy) + b."""
    return similarity(_TEMPLATE * size, anchors(landmarks_px))


def similarity(
    points: Float[np.ndarray, "points 2"], onto: Float[np.ndarray, "points 2"]
) -> tuple[complex, complex]:
    """The turn, scale and shift that bring points closest onto others, by least squares.

    Returns:
        (a, b), so that x + iy goes to a (x + iy) + b; |a| is the scale.
    """
    start, end = points[:, 0] + 1j * points[:, 1], onto[:, 0] + 1j * onto[:, 1]
    centred = start - start.mean()
    turn = np.vdot(centred, end - end.mean()) / np.vdot(centred, centred).real
    return complex(turn), complex(end.mean() - turn * start.mean())


def _visible(
    turn: complex, shift: complex, size: int, width_px: int, height_px: int
) -> tuple[int, int, int, int]:
    """The part of the photograph that a crop shows, with a margin for the filters."""
    corners = turn * np.array([0, size, size * 1j, size * (1 + 1j)]) + shift
    margin = 4 * abs(turn) + 4
    left, right = corners.real.min() - margin, corners.real.max() + margin
    top, bottom = corners.imag.min() - margin, corners.imag.max() + margin
    return max(0, int(left)), max(0, int(top)), min(width_px, int(right)), min(height_px, int(bottom))
