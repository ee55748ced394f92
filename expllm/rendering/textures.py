"""Reads the packed textures as linear colour, and mends what is wrong with them."""

from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float32
from PIL import Image

from expllm.rendering import head

Texture = Float32[np.ndarray, "height width 4"]

GAMMA = 2.2
_IRIS_TONES = {"brown": (0.55, 1.35, 1.5), "brownlight": (0.85, 1.0, 1.0)}
"""Gains that turn the package's red-brown irises brown."""


@lru_cache(maxsize=64)
def load(name: str) -> Texture:
    """Read a texture by file name: linear RGB, alpha as it is."""
    with Image.open(head.folder() / "textures" / name) as picture:
        pixels = np.asarray(picture.convert("RGBA"), np.float32) / 255
    pixels[..., :3] **= GAMMA
    return pixels


@cache
def eye(colour: str) -> Texture:
    """An eye texture with a natural iris."""
    texture = load(f"eye_{colour}_eye.png").copy()
    gains = np.array(_IRIS_TONES.get(colour, (1, 1, 1)), np.float32)
    chroma = np.ptp(texture[..., :3], axis=2) / (texture[..., :3].max(2) + 1e-3)
    iris = np.clip((chroma - 0.35) / 0.3, 0, 1)[..., None]
    texture[..., :3] = texture[..., :3] * (1 - iris) + texture[..., :3] * gains * iris
    return texture


@lru_cache(maxsize=32)
def skin(name: str) -> Texture:
    """A skin texture; the one that is far too red is mended."""
    texture = load(name)
    return texture * np.array((0.62, 1.15, 1.35, 1), np.float32) if "old_african_female" in name else texture


@cache
def teeth() -> Texture:
    """The teeth, less grey than the package has them."""
    texture = load("teeth.png").copy()
    texture[..., :3] *= np.array((1.75, 1.6, 1.35), np.float32)
    return texture


@cache
def strands(name: str) -> Texture:
    """A hair or brow texture without colour of its own: brightness around 1, to be tinted."""
    texture = load(f"{name}.png").copy()
    brightness = (texture[..., :3].mean(2) + 1e-3) ** 0.5
    average = np.average(brightness, weights=texture[..., 3] + 1e-6)
    texture[..., :3] = (brightness / average)[..., None]
    return texture


def alpha_at(texture: Texture, uv: head.TriangleUV) -> Float32[np.ndarray, " triangles"]:
    """The texture's alpha at the middle of each triangle."""
    middle = uv.mean(1)
    height, width = texture.shape[:2]
    x = np.clip((middle[:, 0] * width).astype(int), 0, width - 1)
    y = np.clip(((1 - middle[:, 1]) * height).astype(int), 0, height - 1)
    return texture[y, x, 3]
