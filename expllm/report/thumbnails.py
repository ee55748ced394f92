"""Turns a photograph and a face's box into a small picture for a page: pixels alone, no metadata."""

import base64
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from expllm.photographs import Photograph

SIDE_PX = 240
_CONTEXT = 2.0
"""The picture shows this many times the longer side of the box."""
_QUALITY = 82


def thumbnail(photograph: Photograph, box_px: tuple[float, float, float, float]) -> str:
    """Cut out a face with its surroundings, draw the box and give it back as a JPEG data URI.

    Args:
        box_px: In pixels of the full-size photograph.
    """
    window = _window(photograph, box_px)
    image = Image.fromarray(_cut(photograph, window)).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    scale = SIDE_PX / (window[2] - window[0])
    corners = [(edge - window[axis % 2]) * scale for axis, edge in enumerate(box_px)]
    _draw_box(image, corners)
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _window(
    photograph: Photograph, box_px: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Put a square around the box, inside the photograph as far as the photograph goes."""
    left, top, right, bottom = box_px
    side = min(_CONTEXT * max(right - left, bottom - top, 1.0), photograph.width_px, photograph.height_px)
    x = min(max(0.5 * (left + right - side), 0.0), photograph.width_px - side)
    y = min(max(0.5 * (top + bottom - side), 0.0), photograph.height_px - side)
    return x, y, x + side, y + side


def _cut(
    photograph: Photograph, window: tuple[float, float, float, float]
) -> UInt8[np.ndarray, "height width 3"]:
    height, width, _ = photograph.pixels.shape
    left, top, right, bottom = (round(edge * photograph.scale) for edge in window)
    return photograph.pixels[top : max(bottom, top + 1), left : max(right, left + 1)][:height, :width]


def _draw_box(image: Image.Image, corners: list[float]) -> None:
    """Draw a light line on a dark one: seen on any skin and any background."""
    drawing = ImageDraw.Draw(image)
    left, top, right, bottom = (min(max(edge, 2.0), SIDE_PX - 3.0) for edge in corners)
    if min(right - left, bottom - top) >= 2.0:  # else there is no room for two lines
        drawing.rounded_rectangle((left, top, right, bottom), 8, outline=(0, 0, 0), width=4)
        inner = (left + 1, top + 1, right - 1, bottom - 1)
        drawing.rounded_rectangle(inner, 7, outline=(255, 255, 255), width=2)
