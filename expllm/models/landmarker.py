"""Finds the faces of a photograph with MediaPipe: landmarks, blendshapes and head pose of each.

The bundled landmarker holds two models that are used apart here: the detector, which looks at the whole
photograph and at overlapping tiles of it, and the landmarker, which looks at one found face at a time. So a
small face gets the same landmarks as a large one, and each face has the detector's score.
"""

import math
import os
import sys
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import mediapipe
import numpy as np
from jaxtyping import Float64, UInt8
from mediapipe.tasks.python.components.containers.landmark import NormalizedLandmark
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.vision import (
    FaceDetector,
    FaceDetectorOptions,
    FaceLandmarker,
    FaceLandmarkerOptions,
)

from expllm.faces import (
    BLENDSHAPES,
    Box,
    DetectedFace,
    bounds,
    from_the_left,
    iou,
    pose_deg,
    square,
    suppress,
)
from expllm.photographs import Photograph

BUNDLED = Path(__file__).parent.parent / "data" / "face_landmarker.task"

_MIN_CONFIDENCE = 0.5
_SAME_FACE = 0.4
"""Boxes that overlap by more than this show one face."""
_OWN_FACE = 0.2
"""Landmarks that overlap the detected face by less are a neighbour's, who has a window as well."""
_MIN_FACE_PX = 16
_WINDOW = 2.0
"""Side of what the landmarker sees, in sides of the detected face."""
_MIN_WINDOW_PX = 128
_MOST_IN_A_WINDOW = 4
"""Neighbours show in a face's window as well, and one of them may be the plainest."""
# The detector sees 128 x 128 pixels and misses faces below about an eighth of what it is shown.
_LEVELS = (2, 4)
"""The longest side holds so many tiles; neighbours overlap by half."""
_MIN_TILE_PX = 150
_SMALL_FACE = 0.25
"""Smaller tiles are searched where nothing was found, or a face below this share of what was searched."""


class Landmarker:
    """MediaPipe's face landmarker over whole photographs; for one thread at a time."""

    def __init__(self, model: Path = BUNDLED) -> None:
        data = model.read_bytes()
        with zipfile.ZipFile(BytesIO(data)) as parts:
            detector = parts.read("face_detector.tflite")
        with _quietly():
            self._detector, self._landmarker = _detector(detector), _landmarker(data)
            self._detector.detect(_image(np.zeros((_MIN_FACE_PX, _MIN_FACE_PX, 3), np.uint8)))
        # Holds both until then: in a cycle of garbage their threads would be gone before them, and they wait.
        self._end = weakref.finalize(self, _close, self._detector, self._landmarker)
        self._end.atexit = False

    def detect(self, photograph: Photograph) -> list[DetectedFace]:
        """Find the faces, numbered from the left; none where there are none.

        A face's score is the face detector's confidence (0..1). Faces whose longer side is below 16 px of
        the decoded photograph, and what only the detector takes for a face, are left out.
        """
        pixels = np.ascontiguousarray(photograph.pixels)
        candidates = [self._face(pixels, box, score, photograph) for box, score in self._candidates(pixels)]
        found = [face for face in candidates if face is not None]
        kept = suppress([face.box_px for face in found], [face.score for face in found], _SAME_FACE)
        return from_the_left([found[index] for index in kept])

    def _candidates(self, pixels: UInt8[np.ndarray, "height width 3"]) -> list[tuple[Box, float]]:
        found = self._boxes(pixels, (0, 0, pixels.shape[1], pixels.shape[0]))
        searched_px = max(pixels.shape[:2])
        for level in _LEVELS:
            tile_px = math.ceil(max(pixels.shape[:2]) / level)
            smallest_px = min((_longer(box) for box, _ in found), default=0.0)
            if tile_px < _MIN_TILE_PX or smallest_px >= _SMALL_FACE * searched_px:
                break
            for tile in _tiles(pixels.shape[1], pixels.shape[0], tile_px):
                found += self._boxes(pixels, tile)
            searched_px = tile_px
        kept = suppress([box for box, _ in found], [score for _, score in found], _SAME_FACE)
        return [found[index] for index in kept]

    def _boxes(
        self, pixels: UInt8[np.ndarray, "height width 3"], tile: tuple[int, int, int, int]
    ) -> list[tuple[Box, float]]:
        left, top, right, bottom = tile
        result = self._detector.detect(_image(pixels[top:bottom, left:right]))
        boxes = []
        for detection in result.detections:
            at = detection.bounding_box
            x, y = left + at.origin_x, top + at.origin_y
            box = (float(x), float(y), float(x + at.width), float(y + at.height))
            if _longer(box) >= _MIN_FACE_PX:
                boxes.append((box, float(detection.categories[0].score)))
        return boxes

    def _face(
        self, pixels: UInt8[np.ndarray, "height width 3"], box: Box, score: float, photograph: Photograph
    ) -> DetectedFace | None:
        """The face that the detector found, with its landmarks; None where the landmarker sees none there."""
        window, left, top = _window(pixels, box)
        result = self._landmarker.detect(_image(window))
        points_px = [_points(marks, window.shape[0], (left, top)) for marks in result.face_landmarks]
        overlaps = [iou(bounds(points, math.inf, math.inf), box) for points in points_px]
        if max(overlaps, default=0.0) < _OWN_FACE:
            return None
        own = overlaps.index(max(overlaps))
        units = {unit.category_name: unit.score for unit in result.face_blendshapes[own]}
        points = (points_px[own] / photograph.scale).astype(np.float32)
        return DetectedFace(
            bounds(points, photograph.width_px, photograph.height_px),
            score,
            points,
            np.array([units[name] for name in BLENDSHAPES], np.float32),
            *pose_deg(result.facial_transformation_matrixes[own]),
        )

    def close(self) -> None:
        """Give the models' memory back; left to the interpreter's end, MediaPipe complains on stderr."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _close(detector: FaceDetector, landmarker: FaceLandmarker) -> None:
    with _quietly():
        detector.close()
        landmarker.close()


def _detector(model: bytes) -> FaceDetector:
    options = FaceDetectorOptions(
        base_options=BaseOptions(model_asset_buffer=model), min_detection_confidence=_MIN_CONFIDENCE
    )
    return FaceDetector.create_from_options(options)


def _landmarker(model: bytes) -> FaceLandmarker:
    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model),
        num_faces=_MOST_IN_A_WINDOW,
        min_face_detection_confidence=_MIN_CONFIDENCE,
        min_face_presence_confidence=_MIN_CONFIDENCE,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    return FaceLandmarker.create_from_options(options)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep MediaPipe's start and end notes, which no setting of it turns off, from stderr."""
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _image(pixels: UInt8[np.ndarray, "height width 3"]) -> mediapipe.Image:
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))


def _points(
    marks: list[NormalizedLandmark], side_px: int, corner_px: tuple[int, int]
) -> Float64[np.ndarray, "478 3"]:
    points = np.array([(mark.x, mark.y, mark.z) for mark in marks]) * side_px
    points[:, :2] += corner_px
    return points


def _longer(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _tiles(width_px: int, height_px: int, tile_px: int) -> Iterator[tuple[int, int, int, int]]:
    for top in _starts(height_px, tile_px):
        for left in _starts(width_px, tile_px):
            yield left, top, min(left + tile_px, width_px), min(top + tile_px, height_px)


def _starts(length_px: int, tile_px: int) -> list[int]:
    steps = max(0, math.ceil((length_px - tile_px) / (tile_px / 2)))
    return [round(step * (length_px - tile_px) / steps) for step in range(steps + 1)] if steps else [0]


def _window(
    pixels: UInt8[np.ndarray, "height width 3"], box: Box
) -> tuple[UInt8[np.ndarray, "side side 3"], int, int]:
    """The square around a face, black where the photograph ends, and where its corner lies."""
    side = max(_MIN_WINDOW_PX, math.ceil(_longer(square(box, _WINDOW))))
    left = round((box[0] + box[2] - side) / 2)
    top = round((box[1] + box[3] - side) / 2)
    window = np.zeros((side, side, 3), np.uint8)
    seen = pixels[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    y, x = max(0, -top), max(0, -left)
    window[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return window, left, top
