"""serving.preprocessing.decode"""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serving.preprocessing import InputError, png
from serving.preprocessing.decode import claimed_pixels, decode
from serving.preprocessing.many import over_many
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


def small_png(**changes: bytes) -> bytes:
    """A PNG of 6 × 5 grey pixels; `changes` replace its chunks, or put others `before` or `after` the data."""
    parts = {
        "header": header(),
        "before": b"",
        "data": chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(range(row, row + 6)) for row in range(5)))),
        "after": b"",
        "end": chunk(b"IEND", b""),
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join((parts | changes).values())


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(*, width: int = 6, height: int = 5, depth: int = 8, colour: int = 0, interlacing: int = 0) -> bytes:
    """The first chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlacing))


def in_full(encoded: bytes) -> np.ndarray | str:
    """What Pillow makes of a whole file, or why it is refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "scan", lambda *_: None)
        return outcome(encoded)


def outcome(encoded: bytes) -> np.ndarray | str:
    """The pixels, or why there are none."""
    try:
        return decode(encoded, max_pixels=1_000_000)
    except InputError as error:
        return f"{error.reason}: {error}"


ORIENTED = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")


@pytest.mark.parametrize(
    ("encoded", "small"),
    [
        (small_png(), True),
        (small_png(before=chunk(b"sRGB", b"\0") + chunk(b"gAMA", b"\0\0\xb1\x8f") + chunk(b"pHYs", bytes(9))), True),
        (small_png(after=chunk(b"IDAT", b"")), True),
        (small_png(before=chunk(b"sRGB", b"")), False),
        (small_png(before=chunk(b"sRGB", b"\0")[:-1] + b"\0"), False),
        (small_png(before=chunk(b"tRNS", b"\0\1")), False),
        (small_png(before=chunk(b"tEXt", b"Software\0x")), False),
        (small_png(before=ORIENTED), False),
        (small_png(after=ORIENTED), False),
        (small_png(after=chunk(b"sRGB", b"\0") + chunk(b"IDAT", b"x")), False),
        (small_png(before=b"\xff\xff\xff\xffIDAT"), False),
        (small_png(before=b"\0\0\0\x70IDAT"), False),
        (small_png(data=chunk(b"IDAT", zlib.compress(bytes(7)))), False),
        (small_png(data=chunk(b"IDAT", zlib.compress(bytes(36)))), False),
        (small_png(data=chunk(b"IDAT", zlib.compress(bytes(35))[:-1] + b"\0")), False),
        (small_png(data=chunk(b"IDAT", zlib.compress(b"\2\1\1\1\1\1\1\4\1\1\1\1\1\1" + b"\3\1\1\1\1\1\1" * 3))), True),
        (small_png(data=chunk(b"IDAT", zlib.compress(bytes(35))[:-9])), False),
        (small_png(data=chunk(b"IDAT", zlib.compress(b"\7" * 35))), False),
        (small_png(data=b""), False),
        (small_png(end=b""), False),
        (small_png(end=chunk(b"IEND", b"") + b"more"), False),
        (small_png(header=header()[:-1] + b"\0"), False),
        (small_png(header=header(depth=4)), False),
        (small_png(header=header(colour=3)), False),
        (small_png(header=header(colour=5)), False),
        (small_png(header=header(interlacing=1)), False),
        (small_png(header=header(height=0)), False),
        (small_png(header=header(width=1 << 31, height=1 << 31)), False),
        (small_png(header=header(height=1 << 17)), False),
    ],
)
def test_small_png(encoded: bytes, small: bool) -> None:
    """A small PNG is decoded without opening it as a file, if nothing is in it that matters; to the same pixels."""
    scan = png.scan(encoded, 1_000_000)
    assert (scan is not None and png.pixels([scan]) is not None) == small
    np.testing.assert_array_equal(outcome(encoded), in_full(encoded))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_small_png_modes(mode: str) -> None:
    """So are those in colour, together or one by one."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(3):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (9, 7, 4), np.uint8), "RGBA").convert(mode).save(buffer, "PNG")
        files.append(buffer.getvalue())
        assert png.scan(files[-1], 63)
        assert not png.scan(files[-1], 62)
    for made, file in zip(over_many(decode)(files), files, strict=True):
        np.testing.assert_array_equal(made, in_full(file))
        np.testing.assert_array_equal(decode(file), made)


@given(st.sampled_from([small_png(), small_png(before=chunk(b"gAMA", bytes(4)))]), st.data())
def test_damaged_small_png(whole: bytes, data: st.DataObject) -> None:
    """A small PNG that is damaged or cut is what it is when opened as a file: an error, or the same pixels."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    encoded = bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged)
    np.testing.assert_array_equal(outcome(encoded), in_full(encoded))


def test_claimed_pixels() -> None:
    """The headers of PNG and JPEG say how many pixels there are; others, and what is cut short, do not say."""
    for form, pixels in (("PNG", 2400), ("JPEG", 2400), ("WEBP", None), ("GIF", None), ("TIFF", None), ("BMP", None)):
        assert claimed_pixels(encode(GRADIENT, form)) == pixels
    assert claimed_pixels(encode(COLOUR, "JPEG", progressive=True)) == 2400
    photo = encode(GRADIENT, "JPEG")
    frame = photo.index(b"\xff\xc0")
    assert claimed_pixels(photo[: frame + 8]) is None
    assert claimed_pixels(photo[:frame] + b"\0" + photo[frame:]) is None
    assert claimed_pixels(b"") is None


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
