"""Turns stored crops into altered crops: moved, mirrored, recoloured, blurred, hidden in part."""

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from expllm.faces import CROP_PX
from expllm.facs import MIRRORED_COLUMNS
from expllm.models.preprocessing import to_pixels

PHOTOGRAPHS_HIDDEN_RATE, RENDERED_HIDDEN_RATE = 0.1, 0.25
"""How often each branch of the encoder is hidden from what learns to read it."""


def centre(
    crops: UInt8[np.ndarray, "faces h w 3"], size_px: int = CROP_PX
) -> UInt8[np.ndarray, "faces c c 3"]:
    """Cut the margin off stored crops: what labelling gives the encoder."""
    start = (crops.shape[1] - size_px) // 2
    return crops[:, start : start + size_px, start : start + size_px]


def augment(
    crops: UInt8[np.ndarray, "faces h w 3"],
    moves: Float32[Tensor, "faces 2 3"],
    rng: np.random.Generator,
    size_px: int = CROP_PX,
) -> Float32[Tensor, "faces 3 c c"]:
    """Alter crops as other cameras, light, landmarks and things in the way would, and move them."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    grid = functional.affine_grid(moves, [len(crops), 3, size_px, size_px], align_corners=False)
    pixels = functional.grid_sample(to_pixels(crops), grid, align_corners=False, padding_mode="border")
    pixels = _resample(pixels, generator)
    pixels = _refilter(_recolour(pixels, generator), generator)
    return _hide(_add_noise(pixels, generator), generator).clamp(0, 1)


def without_face(
    pixels: Float32[Tensor, "faces 3 c c"], rng: np.random.Generator
) -> Float32[Tensor, "faces 3 c c"]:
    """Pictures in whose place nobody could read a face: one colour, a slope of colours, noise, some blots."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    faces = len(pixels)
    colour = _uniform(generator, faces, 0, 1, channels=3)
    slope = _stretched(torch.rand(faces, 3, 2, 2, generator=generator), pixels)
    noise = torch.rand(pixels.shape, generator=generator)
    blots = _stretched(functional.adaptive_avg_pool2d(pixels, int(rng.integers(2, 5))), pixels)
    kinds = torch.stack([colour.expand_as(pixels), slope, noise, blots])
    return kinds[torch.randint(len(kinds), (faces,), generator=generator), torch.arange(faces)]


def draw_moves(
    mirror: Bool[np.ndarray, " faces"], stored_px: int, rng: np.random.Generator, size_px: int = CROP_PX
) -> Float32[Tensor, "faces 2 3"]:
    """Draw small moves, mirrored where asked: from places in the new crop to places in the stored one."""
    faces = len(mirror)
    angle = np.radians(rng.uniform(-7, 7, faces))
    zoom = size_px / stored_px * rng.uniform(0.9, 1.1, faces)
    stretch = rng.uniform(0.96, 1.04, faces)
    flip = np.where(mirror, -1, 1)
    shift = rng.uniform(-1 / 16, 1 / 16, (2, faces))
    rows = [
        [flip * zoom * stretch * np.cos(angle), -zoom * np.sin(angle), shift[0]],
        [flip * zoom * np.sin(angle), zoom / stretch * np.cos(angle), shift[1]],
    ]
    return torch.from_numpy(np.moveaxis(np.array(rows), -1, 0).astype(np.float32))


def draw_shown(faces: int, rng: np.random.Generator) -> Float32[Tensor, "faces 3"]:
    """Draw which branch of the FaceTower is hidden (0), if any: its readers must be able to read either.

    The vote is always hidden. On rendered faces it is often wrong, and who learns from them to read it would
    learn to mistrust it on photographs as well.
    """
    draws = rng.random((faces, 1))
    hidden = [draws < PHOTOGRAPHS_HIDDEN_RATE, draws > 1 - RENDERED_HIDDEN_RATE, draws >= 0]
    return torch.from_numpy(~np.hstack(hidden)).float()


def moved(
    points: Float32[Tensor, "faces points 2"], moves: Float32[Tensor, "faces 2 3"]
) -> Float32[Tensor, "faces points 2"]:
    """Where points of the stored crops (-1..1 from edge to edge) lie in the new ones."""
    return (points - moves[:, None, :, 2]) @ torch.linalg.inv(moves[:, :, :2]).transpose(1, 2)


def mirrored(
    action_units: Float32[np.ndarray, "faces units"], mirror: Bool[np.ndarray, " faces"]
) -> Float32[np.ndarray, "faces units"]:
    """Intensities as they stand on the mirrored faces: left and right change places."""
    return np.where(mirror[:, None], action_units[:, MIRRORED_COLUMNS], action_units)


def _uniform(generator: torch.Generator, faces: int, low: float, high: float, channels: int = 1) -> Tensor:
    return torch.empty(faces, channels, 1, 1).uniform_(low, high, generator=generator)


def _happens(generator: torch.Generator, faces: int, share: float) -> Tensor:
    return torch.rand(faces, 1, 1, 1, generator=generator) < share


def _resample(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur some faces as if they had been small in the photograph: down to a size, then up again."""
    chosen = _happens(generator, len(pixels), 0.35)
    width = pixels.shape[-1]
    small = int(torch.randint(2 * width // 7, 6 * width // 7, (1,), generator=generator))
    reduced = functional.interpolate(pixels, size=(small, small), mode="bilinear", antialias=True)
    return torch.where(
        chosen, functional.interpolate(reduced, size=pixels.shape[-2:], mode="bilinear"), pixels
    )


def _recolour(pixels: Tensor, generator: torch.Generator) -> Tensor:
    faces = len(pixels)
    grey = pixels.mean(1, keepdim=True)
    saturation = torch.where(
        _happens(generator, faces, 0.15), torch.zeros(1), _uniform(generator, faces, 0.3, 1.5)
    )
    pixels = grey + saturation * (pixels - grey)
    pixels = pixels * _uniform(generator, faces, 0.85, 1.15, channels=3)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = mean + _uniform(generator, faces, 0.6, 1.4) * (pixels - mean)
    pixels = pixels + _uniform(generator, faces, -0.15, 0.15) + _shade(pixels, generator)
    return pixels.clamp(0, 1) ** _uniform(generator, faces, 0.7, 1.4)


def _shade(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Light that falls off across the face."""
    corners = torch.empty(len(pixels), 1, 2, 2).uniform_(-0.12, 0.12, generator=generator)
    return _stretched(corners, pixels)


def _stretched(few: Tensor, pixels: Tensor) -> Tensor:
    """A few places a side, blended into whole crops of the size of `pixels`."""
    return functional.interpolate(few, size=pixels.shape[-2:], mode="bilinear", align_corners=True)


def _refilter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Give some faces another surface: a random filter of all colours, blended in by half at most.

    Source:
        Xu, Liu, Yang, Niethammer: Robust and Generalizable Visual Representation Learning via Random
        Convolutions, ICLR 2021.
    """
    size = 1 + 2 * int(torch.randint(3, (1,), generator=generator))
    filters = torch.randn(3, 3, size, size, generator=generator) / (3 * size**2) ** 0.5
    filtered = functional.conv2d(pixels - 0.5, filters, padding=size // 2) + 0.5
    share = _uniform(generator, len(pixels), 0, 0.5) * _happens(generator, len(pixels), 0.25)
    return pixels + share * (filtered - pixels)


def _add_noise(pixels: Tensor, generator: torch.Generator) -> Tensor:
    strength = _uniform(generator, len(pixels), 0, 0.05) * _happens(generator, len(pixels), 0.5)
    return pixels + strength * torch.randn(pixels.shape, generator=generator)


def _hide(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Cover one rectangle of some faces with a single colour."""
    faces, width = len(pixels), pixels.shape[-1]
    size = _uniform(generator, faces, 0.1, 0.35) * width
    left, top = (_uniform(generator, faces, 0, width) for _ in range(2))
    place = torch.arange(width, dtype=torch.float32)
    across, down = place.view(1, 1, 1, -1), place.view(1, 1, -1, 1)
    inside = ((across - left).abs() < size / 2) & ((down - top).abs() < size / 2)
    chosen = inside & _happens(generator, faces, 0.25)
    return torch.where(chosen, _uniform(generator, faces, 0, 1, channels=3), pixels)
