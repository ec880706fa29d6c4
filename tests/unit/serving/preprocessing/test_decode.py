"""serving.preprocessing.decode"""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serving.preprocessing import InputError
from serving.preprocessing.decode import decode
from tests.fakes.digits import encode

GRADIENT = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
COLOUR = np.stack([GRADIENT, GRADIENT[:, ::-1], np.full_like(GRADIENT, 77)], axis=-1)
ORIENTATION = 0x0112


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_formats(form: str) -> None:
    """Every format gives the same pixels, as far as its compression goes."""
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
    decoded = decode(encode(GRADIENT, form, **options))
    assert decoded.dtype == np.uint8
    assert decoded.shape[:2] == (40, 60)
    assert np.abs(decoded[:, :, 0].astype(int) - GRADIENT).max() <= (8 if form == "JPEG" else 0)


def test_channels() -> None:
    """Grey has one channel, colour three, transparency four; palettes and CMYK become colour."""
    picture = Image.fromarray(COLOUR)
    transparent = picture.convert("RGBA")
    transparent.putalpha(128)
    for image, channels in (
        (picture, 3),
        (picture.convert("L"), 1),
        (picture.convert("1"), 1),
        (picture.convert("P"), 3),
        (transparent, 4),
        (picture.convert("LA"), 4),
    ):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert decode(buffer.getvalue()).shape == (40, 60, channels), image.mode
    buffer = io.BytesIO()
    picture.convert("CMYK").save(buffer, "JPEG")
    assert decode(buffer.getvalue()).shape == (40, 60, 3)


def test_sixteen_bits() -> None:
    """16 bits a pixel are scaled to 8, not clipped."""
    wide = GRADIENT.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode(encode(wide))[:, :, 0], GRADIENT)


def test_orientation() -> None:
    """A photo that says it lies on its side is turned upright."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(GRADIENT).save(buffer, "JPEG", exif=exif)
    decoded = decode(buffer.getvalue())
    assert decoded.shape == (60, 40, 1)
    assert decoded[0, 0, 0] < decoded[-1, 0, 0]


def test_shrinks_photos() -> None:
    """A JPEG is decoded at a fraction of its size, never below what is asked for."""
    photo = encode(np.full((1000, 1600), 99, np.uint8), "JPEG")
    assert 256 <= decode(photo, shrink_to=256).shape[0] < 1000
    assert decode(photo).shape == (1000, 1600, 1)
    assert decode(encode(np.full((1000, 1600), 99, np.uint8)), shrink_to=256).shape == (1000, 1600, 1)


def test_pixel_limit() -> None:
    """The limit is on pixels, and holds exactly."""
    image = encode(GRADIENT)
    assert decode(image, max_pixels=2400).shape == (40, 60, 1)
    with pytest.raises(InputError, match="60×40 = 2400 pixels; expected 2399 at most") as caught:
        decode(image, max_pixels=2399)
    assert caught.value.reason == "IMAGE_TOO_LARGE"


def test_floating_point() -> None:
    """Floating-point pixels have no known range and are refused."""
    with pytest.raises(InputError, match="8 or 16 bits"):
        decode(encode(GRADIENT.astype(np.float32), "TIFF"))


def test_other_formats() -> None:
    """A format that is not on the list is not tried, though Pillow could read it."""
    with pytest.raises(InputError, match="expected one image as PNG"):
        decode(encode(GRADIENT, "PPM"))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_cut_short(form: str) -> None:
    """A file that ends too early, anywhere, is InputError or still a whole image; never another exception."""
    whole = encode(COLOUR, form)
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        with contextlib.suppress(InputError):
            assert decode(whole[:length]).shape[:2] == (40, 60)
    with pytest.raises(InputError):
        decode(whole[: len(whole) // 2])


@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]), st.data())
def test_damaged(form: str, data: st.DataObject) -> None:
    """A file with damaged bytes is InputError or an image; never another exception."""
    damaged = bytearray(encode(COLOUR[:8, :8], form))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        assert decode(bytes(damaged), max_pixels=1_000_000).dtype == np.uint8
