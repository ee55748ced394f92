"""Turns the bytes of a photograph into upright RGB pixels, or into the reason why it cannot be used."""

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from expllm.errors import Reject

LONGEST_PX = 2880
"""Larger photographs are reduced, JPEG to no less than half of this: a face of 3 % still has 43 px."""
MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 16

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)

# What Pillow's readers raise on hostile bytes; memory running out is not among them: the pool sees to it.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError,
    struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Photograph:
    """Upright pixels, at full size or reduced; nothing of the file's metadata."""

    pixels: UInt8[np.ndarray, "height width 3"]
    width_px: int
    """Full size after the EXIF rotation, as are all boxes."""
    height_px: int

    @property
    def scale(self) -> float:
        """Pixels here for one pixel of the full-size photograph; at most 1."""
        return float(self.pixels.shape[1]) / self.width_px


def photo_id(data: bytes) -> str:
    """The SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, *, longest_px: int = LONGEST_PX, max_pixels: int = MAX_PIXELS) -> Photograph | Reject:
    """Read a JPEG, PNG or WebP photograph; the bytes alone say which it is.

    The header's size is checked before any pixel is decoded. Transparency is laid on white.

    Args:
        longest_px: Larger photographs come back reduced: JPEG by the power of two that suffices, which
            saves most of the decoding, others to this longest side.
        max_pixels: Photographs of more pixels, by their header, are Reject.TOO_LARGE.
    """
    if not data:
        return Reject.EMPTY
    reader = _reader(data)
    if reader is None:
        return Reject.UNKNOWN_FORMAT
    if _png_pixels(data) > max_pixels:
        return Reject.TOO_LARGE
    try:
        image = reader(BytesIO(data))
        unusable = _unusable(image, max_pixels)
        return unusable if unusable else _read(image, longest_px)
    except Image.DecompressionBombError:
        return Reject.TOO_LARGE
    except _UNREADABLE:
        return Reject.CORRUPT if _is_whole(data) else Reject.TRUNCATED


def _reader(data: bytes) -> Callable[[BytesIO], ImageFile] | None:
    # The readers are called directly: Image.open would try others, and warns through a global filter.
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile
    return None


def _png_pixels(data: bytes) -> int:
    # Pillow's PNG reader goes on to the pixels' start before it tells the size; here the header is enough.
    if not data.startswith(b"\x89PNG") or data[12:16] != b"IHDR":
        return 0
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")


def _unusable(image: ImageFile, max_pixels: int) -> Reject | None:
    if image.width * image.height > max_pixels:
        return Reject.TOO_LARGE
    if min(image.size) < MIN_SIDE_PX:
        return Reject.TOO_SMALL
    return Reject.ANIMATED if getattr(image, "is_animated", False) else None


def _is_whole(data: bytes) -> bool:
    """Whether the file's own end mark is there."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in data
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _read(image: ImageFile, longest_px: int) -> Photograph:
    width_px, height_px = image.size
    divisor = _divisor(max(image.size), longest_px)
    image.draft(image.mode, (width_px // divisor, height_px // divisor))  # JPEG alone can
    image.load()  # before the EXIF is read: only there is breakage forgiven
    orientation = _orientation(image)
    pixels = _deep_to_8_bits(image) if image.mode.startswith("I") else _with_alpha_or_rgb(image)
    if max(pixels.size) > longest_px:
        pixels = pixels.resize(_reduced(*pixels.size, longest_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    if pixels.mode == "RGBA":
        pixels = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    if orientation in _UPRIGHT:
        pixels = pixels.transpose(_UPRIGHT[orientation])
    if orientation in _SIDEWAYS:
        width_px, height_px = height_px, width_px
    return Photograph(np.asarray(pixels), width_px, height_px)


def _divisor(longer_px: int, longest_px: int) -> int:
    """The power of two that makes the longer side short enough; a JPEG can be decoded at 1/8 and no less."""
    return min(8, 1 << ((longer_px - 1) // longest_px).bit_length())


def _reduced(width_px: int, height_px: int, longest_px: int) -> tuple[int, int]:
    scale = longest_px / max(width_px, height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def _orientation(image: ImageFile) -> int:
    """The EXIF orientation; 1 where there is none, or none that can be read."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _UNREADABLE:
        return 1


def _deep_to_8_bits(image: ImageFile) -> Image.Image:
    grey = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")


def _with_alpha_or_rgb(image: ImageFile) -> Image.Image:
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)
