import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from expllm.errors import Reject
from expllm.photographs import Photograph, decode, photo_id

FORMATS = ("JPEG", "PNG", "WEBP")


def picture(width_px=48, height_px=32):
    """Red on the left half, blue on the right, so that every turn shows."""
    pixels = np.zeros((height_px, width_px, 3), np.uint8)
    pixels[:, : width_px // 2, 0] = 255
    pixels[:, width_px // 2 :, 2] = 255
    return Image.fromarray(pixels)


def encoded(image, format="PNG", **options):
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def read(data, **options):
    photograph = decode(data, **options)
    assert isinstance(photograph, Photograph), photograph
    return photograph


def png(width_px, height_px, *, bits=8, colour=2):
    """A PNG of a header alone."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_read_by_its_bytes(format):
    photograph = read(encoded(picture(), format))
    assert (photograph.width_px, photograph.height_px, photograph.scale) == (48, 32, 1)
    assert photograph.pixels.shape == (32, 48, 3)
    assert photograph.pixels.dtype == np.uint8
    assert photograph.pixels[16, 4, 0] > 200
    assert photograph.pixels[16, 44, 2] > 200


def test_the_photo_id_is_the_sha256_of_the_bytes():
    assert photo_id(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_no_bytes_are_empty():
    assert decode(b"") is Reject.EMPTY


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_unknown(format):
    assert decode(encoded(picture(), format)) is Reject.UNKNOWN_FORMAT


def test_text_is_an_unknown_format():
    assert decode(b"<html>not found</html>") is Reject.UNKNOWN_FORMAT


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_animations_are_rejected(format):
    data = encoded(picture(), format, save_all=True, append_images=[picture().rotate(180)], duration=50)
    assert decode(data) is Reject.ANIMATED


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_a_side_below_the_limit_is_too_small(size):
    assert decode(encoded(picture(*size))) is Reject.TOO_SMALL


def test_a_huge_header_is_too_large_and_nothing_is_decoded():
    assert decode(png(50_000, 50_000)) is Reject.TOO_LARGE


def test_a_huge_jpeg_header_is_too_large():
    data = bytearray(encoded(picture(), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 50_000, 50_000)
    assert decode(bytes(data)) is Reject.TOO_LARGE


def test_a_huge_webp_header_is_too_large():
    data = bytearray(encoded(picture(), "WEBP"))
    start = data.index(b"\x9d\x01\x2a") + 3
    data[start : start + 4] = struct.pack("<HH", 16_383, 16_383)
    assert decode(bytes(data)) is Reject.TOO_LARGE


def test_more_pixels_than_allowed_are_too_large():
    assert decode(encoded(picture(100, 100)), max_pixels=9_999) is Reject.TOO_LARGE


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_file_is_truncated(format, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, format)
    assert decode(data[: int(len(data) * share)]) is Reject.TRUNCATED


def test_broken_bytes_inside_a_whole_file_are_corrupt():
    data = bytearray(encoded(picture()))
    start = data.index(b"IDAT") + 4
    data[start : start + 12] = bytes(12)
    assert decode(bytes(data)) is Reject.CORRUPT


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_rotation_is_applied(orientation):
    upright = picture()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transposes that lead to each orientation
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph = read(encoded(stored, exif=exif))
    assert (photograph.width_px, photograph.height_px) == upright.size
    np.testing.assert_array_equal(photograph.pixels, np.asarray(upright))


def test_broken_exif_costs_the_rotation_only():
    assert read(encoded(picture(), "JPEG", exif=b"Exif\0\0not a directory")).width_px == 48


def test_cmyk_is_read_as_colours():
    photograph = read(encoded(picture().convert("CMYK"), "JPEG"))
    assert photograph.pixels[16, 4].tolist() == pytest.approx([255, 0, 0], abs=12)


def test_16_bit_grey_is_scaled_and_not_clipped():
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = read(encoded(Image.fromarray(grey))).pixels
    np.testing.assert_allclose(pixels[..., 0], grey / 257, atol=0.51)


def test_16_bit_colour_is_scaled_and_not_clipped():
    row = b"\0" + struct.pack(">HHH", 65535, 32896, 257) * 16
    body = b"IDAT" + zlib.compress(row * 16)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end = b"\0\0\0\0IEND\xaeB`\x82"
    assert read(png(16, 16, bits=16) + chunk + end).pixels[8, 8].tolist() == [255, 128, 1]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palettes_become_rgb(mode):
    assert read(encoded(picture().convert(mode))).pixels.shape == (32, 48, 3)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(format):
    image = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    assert (
        read(encoded(image, format, **({"lossless": True} if format == "WEBP" else {}))).pixels.min() == 255
    )


def test_a_transparent_palette_entry_is_white():
    data = encoded(Image.new("P", (32, 32), 0), transparency=0)
    assert read(data).pixels.min() == 255


@pytest.mark.parametrize("format", FORMATS)
def test_large_photographs_are_reduced_and_keep_their_full_size(format):
    photograph = read(encoded(picture(1000, 600), format), longest_px=120)
    assert photograph.pixels.shape == (72, 120, 3)
    assert (photograph.width_px, photograph.height_px) == (1000, 600)
    assert photograph.scale == pytest.approx(0.12)


@pytest.mark.parametrize(("longest_px", "width_px"), [(1000, 1000), (999, 500), (500, 500), (300, 250)])
def test_a_jpeg_is_halved_until_it_is_small_enough(longest_px, width_px):
    photograph = read(encoded(picture(1000, 600), "JPEG"), longest_px=longest_px)
    assert photograph.pixels.shape[1] == width_px
    assert photograph.width_px == 1000


def test_small_photographs_are_not_enlarged():
    assert read(encoded(picture()), longest_px=2048).pixels.shape == (32, 48, 3)


SEEDS = tuple(encoded(picture(), format) for format in FORMATS)


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    keep=st.floats(0, 1),
)
def test_damaged_bytes_never_raise(data, changes, keep):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(data))] = value
    assert isinstance(decode(bytes(damaged[: int(keep * len(data))])), Photograph | Reject)
