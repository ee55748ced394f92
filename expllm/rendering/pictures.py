"""Turns a rendered layer and a background into a picture as a camera would have stored it."""

from functools import cache
from io import BytesIO

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageEnhance, ImageFilter

from expllm.rendering.scene import Scene
from expllm.rendering.textures import GAMMA

_LEVELS = 1 << 14


def background(seed: int, width_px: int, height_px: int) -> Float32[np.ndarray, "height width 3"]:
    """A gradient with soft or sharp shapes, in linear colour."""
    rng = np.random.default_rng([seed, 4])
    coarse = int(rng.choice([16, 32, 96]))
    y, x = np.mgrid[0:coarse, 0:coarse].astype(np.float32) / (coarse - 1) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    share = (np.cos(angle) * x + np.sin(angle) * y)[..., None] * rng.uniform(0.2, 1.2) + 0.5
    brightness = rng.uniform(0.05, 0.95)
    first, second = (
        np.clip(brightness + rng.normal(0, 0.12) + rng.normal(0, 0.06, 3), 0, 1) for _ in range(2)
    )
    picture = first * (1 - share) + second * share
    for _ in range(rng.integers(0, 3 + coarse // 8)):
        picture = _with_shape(picture, x, y, rng)
    large = [
        Image.fromarray(picture[..., c].astype(np.float32)).resize(
            (width_px, height_px), Image.Resampling.BICUBIC
        )
        for c in range(3)
    ]
    return np.clip(np.stack([np.asarray(channel) for channel in large], 2), 0, 1) ** np.float32(GAMMA)


def _with_shape(
    picture: Float32[np.ndarray, "h w 3"],
    x: Float32[np.ndarray, "h w"],
    y: Float32[np.ndarray, "h w"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "h w 3"]:
    """One soft ellipse or box more."""
    centre_x, centre_y = rng.uniform(-0.5, 0.5, 2)
    u, v = np.abs(x - centre_x) / rng.uniform(0.05, 0.4), np.abs(y - centre_y) / rng.uniform(0.05, 0.5)
    distance = np.hypot(u, v) if rng.random() < 0.5 else np.maximum(u, v)
    alpha = np.clip((1.2 - distance) / rng.uniform(0.2, 1.0), 0, 1)[..., None] * rng.uniform(0.2, 0.8)
    colour = np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.1, 3), 0, 1)
    return picture * (1 - alpha) + colour * alpha


def develop(
    layer: Float32[np.ndarray, "height width 4"], behind: Float32[np.ndarray, "height width 3"], scene: Scene
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay heads over the background, and add the camera's tones, blur, noise and compression."""
    linear = layer[..., :3] + behind * (1 - layer[..., 3:])
    pixels = _gamma_table()[(np.clip(linear, 0, 1) * (_LEVELS - 1)).astype(np.int32)]
    picture = _coarse(_toned(Image.fromarray(pixels), scene), scene.detail)
    if scene.blur_px > 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(scene.blur_px))
    return _compressed(_noisy(np.asarray(picture), scene), scene.jpeg_quality)


@cache
def _gamma_table() -> UInt8[np.ndarray, " levels"]:
    return (np.linspace(0, 1, _LEVELS) ** (1 / GAMMA) * 255 + 0.5).astype(np.uint8)


def _toned(picture: Image.Image, scene: Scene) -> Image.Image:
    picture = ImageEnhance.Color(picture).enhance(scene.saturation)
    return ImageEnhance.Contrast(picture).enhance(scene.contrast)


def _coarse(picture: Image.Image, detail: float) -> Image.Image:
    """The picture as a camera with this share of the resolution would have taken it."""
    if detail == 1:
        return picture
    small = (max(round(picture.width * detail), 1), max(round(picture.height * detail), 1))
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BILINEAR)


def _noisy(pixels: UInt8[np.ndarray, "h w 3"], scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
    rng = np.random.default_rng([scene.background_seed, 5])
    grain = rng.standard_normal(pixels.shape, np.float32) * np.float32(scene.noise * 255)
    return np.clip(pixels + grain + 0.5, 0, 255).astype(np.uint8)


def _compressed(pixels: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    stored = BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored))
