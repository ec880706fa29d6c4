"""The first step of an image pipeline: from the bytes of a file to pixels."""

import functools
import io
import struct
import warnings
from collections.abc import Sequence
from typing import Annotated, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from serving.preprocessing import png
from serving.preprocessing.errors import InputError
from serving.preprocessing.many import MAX_PIXELS, Failure, attempt, for_many

Pixels = NDArray[np.uint8]
# In Pillow's spelling. Formats outside this list are not even tried: each decoder is an attack surface.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
EXPECTED = "expected one image as PNG, JPEG, WebP, GIF, BMP or TIFF"
_ORIENTATION = 0x0112
_PNG_SIZE = struct.Struct(">II")
_JPEG, _MARKER = b"\xff\xd8\xff", 0xFF
# A segment's length; of a frame's then the precision, height and width.
_JPEG_SEGMENT = struct.Struct(">HxHH")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# `decode` has a limit of its own, and refuses before decoding where Pillow would only warn.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@for_many
def decode(
    images: Sequence[bytes],
    *,
    max_pixels: Annotated[int, Field(ge=1)] = 20_000_000,
    shrink_to: Annotated[int, Field(ge=1)] | None = None,
) -> Sequence[Pixels | Failure] | Pixels:
    """Decodes an image and turns it upright: uint8, (height, width, channels) with 1 (grey), 3 (RGB) or 4 (RGBA).

    An image of more than `max_pixels` is refused by its header, before anything is decoded. A JPEG may be decoded at
    1/2, 1/4 or 1/8 of its size if both sides stay at `shrink_to` or above: that saves most of a photo's cost.
    """
    scans = [png.scan(encoded, max_pixels) for encoded in images]
    shape = scans[0].shape if scans[0] else None
    if shape and shape.pixels * len(scans) <= MAX_PIXELS and all(scan and scan.shape == shape for scan in scans):
        together = png.pixels(cast("list[png.Scan]", scans))
        if together is not None:
            return together
    opened = functools.partial(_opened, max_pixels=max_pixels, shrink_to=shrink_to)
    return [
        one[0] if scan and (one := png.pixels([scan])) is not None else attempt(opened, encoded)
        for scan, encoded in zip(scans, images, strict=True)
    ]


def claimed_pixels(encoded: bytes) -> int | None:
    """How many pixels a PNG or a JPEG will have, by its header alone; None of any other file."""
    try:
        if encoded.startswith(png.SIGNATURE):
            width, height = _PNG_SIZE.unpack_from(encoded, len(png.SIGNATURE))
            return int(width * height)
        return _jpeg_pixels(encoded) if encoded.startswith(_JPEG) else None
    except (struct.error, IndexError):
        return None


def _jpeg_pixels(encoded: bytes) -> int | None:
    place = len(_JPEG) - 1
    while encoded[place] == _MARKER:
        length, height, width = _JPEG_SEGMENT.unpack_from(encoded, place + 2)
        if encoded[place + 1] in _JPEG_FRAMES:
            return int(width * height)
        place += 2 + length
    return None


def _opened(encoded: bytes, *, max_pixels: int, shrink_to: int | None) -> Pixels:
    if not encoded:
        raise InputError("IMAGE_EMPTY", f"the image has no bytes; {EXPECTED}")
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            if shrink_to and image.format == "JPEG":
                image.draft(None, (shrink_to, shrink_to))
            image.load()
            if image.getexif().get(_ORIENTATION, 1) != 1:
                return _pixels(ImageOps.exif_transpose(image))
            return _pixels(image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError("IMAGE_UNREADABLE", f"the bytes are not an image that can be read; {EXPECTED}") from None
    except Image.DecompressionBombError:
        raise InputError("IMAGE_TOO_LARGE", f"the image is a bomb; expected {max_pixels} pixels at most") from None
    except Exception as error:
        # Decoders of hostile bytes raise whatever they like: OSError, SyntaxError, struct.error, zlib.error, …
        raise InputError("IMAGE_UNREADABLE", f"the image is damaged or cut short; {EXPECTED}") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise InputError(
            "IMAGE_TOO_LARGE",
            f"the image has {image.width}×{image.height} = {image.width * image.height} pixels; "
            f"expected {max_pixels} at most",
        )


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # 16 bits a pixel; Pillow's own conversion to 8 bits clips instead of scaling.
        wide = np.asarray(image)
        narrow: NDArray[np.uint8] = (np.clip(wide, 0, 0xFFFF) >> 8).astype(np.uint8)
        return narrow[:, :, np.newaxis]
    if image.mode == "F":
        raise InputError("IMAGE_UNREADABLE", "the image has floating-point pixels; expected 8 or 16 bits a channel")
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L"))[:, :, np.newaxis]
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
