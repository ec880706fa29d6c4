"""Small PNGs as most programs write them: what Pillow spends on opening one is several times what decoding takes."""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Up to so many pixels opening is most of the cost.
_MAX_PIXELS = 1 << 16
SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
# Width, height, bit depth, colour type; compression, filter method and interlacing have no other values here.
_HEADER = struct.Struct(">IIBB3xI")
_LENGTH, _FIRST = struct.Struct(">I"), 33
# By colour type.
_MODES = {0: ("L", 1), 2: ("RGB", 3), 6: ("RGBA", 4)}
_DEPTH = 8
_END = b"\0\0\0\0IEND\xaeB`\x82"
# Of deflate: whether it is the last, the length, its complement.
_BLOCK, _BLOCK_HEADER = 0xFFFF, struct.Struct("<?HH")
# Chunks that change no pixel, with their lengths.
_HARMLESS = {b"sRGB": 1, b"gAMA": 4, b"pHYs": 9, b"tIME": 7, b"cHRM": 32}


class Shape(NamedTuple):
    """What images have to have in common to be decoded together."""

    mode: str
    channels: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.width * self.height


class Scan(NamedTuple):
    """The rows of an image, inflated, each behind the number of its filter and not yet freed of it."""

    shape: Shape
    rows: bytes


def scan(encoded: bytes, max_pixels: int) -> Scan | None:
    """The rows in a file of 8-bit grey, RGB or RGBA that is whole and has nothing else in it; None of any other.

    None says nothing about the file: whoever opens it in full says what it is.
    """
    if not (encoded.startswith(SIGNATURE) and encoded.endswith(_END) and encoded[26:29] == b"\0\0\0"):
        return None
    width, height, depth, colour, checksum = _HEADER.unpack_from(encoded, 16)
    mode, channels = _MODES.get(colour, ("", 0))
    if (
        not 0 < width * height <= min(max_pixels, _MAX_PIXELS)
        or not mode
        or depth != _DEPTH
        or zlib.crc32(encoded[12:29]) != checksum
    ):
        return None
    data = _data(encoded)
    if data is None:
        return None
    inflater, size = zlib.decompressobj(), height * (1 + width * channels)
    try:
        # With room for one byte more, so that the end is seen.
        rows = inflater.decompress(data, size + 1)
    except zlib.error:
        return None
    if len(rows) != size or not inflater.eof:
        return None
    return Scan(Shape(mode, channels, width, height), rows)


def pixels(scans: Sequence[Scan]) -> NDArray[np.uint8] | None:
    """The pixels of images of one shape, (n, height, width, channels); None if a row has a filter that there is not.

    The decoder is Pillow's: to it they are one image, with a row of zeros after each, which is what the first row of
    an image is filtered against. Each call of it costs more than what it does to a small image.
    """
    mode, channels, width, height = scans[0].shape
    between = bytes(1 + width * channels)
    rows = between.join([scan.rows for scan in scans]) + between
    try:
        column = Image.frombytes(mode, (width, (height + 1) * len(scans)), _stored(rows), "zip", mode)
    except ValueError:
        return None
    apart = np.asarray(column).reshape(len(scans), height + 1, width, channels)
    together = np.ascontiguousarray(apart[:, :height])
    # As Pillow's are: what is kept of an image is taken after all steps.
    together.flags.writeable = False
    return together


def _stored(rows: bytes) -> bytes:
    """A zlib stream that holds the rows as they are; `zlib.compress` would set 300 kB up to compress nothing."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    parts = [_BLOCK_HEADER.pack(block is blocks[-1], len(block), len(block) ^ _BLOCK) + block for block in blocks]
    return b"".join([b"\x78\x01", *parts, _LENGTH.pack(zlib.adler32(rows))])


def _data(encoded: bytes) -> bytes | None:
    """What the data chunks hold together; None if there are others that matter, or something is not as it should be."""
    place, end = _FIRST, len(encoded) - len(_END)
    parts: list[bytes] = []
    while place < end:
        (length,) = _LENGTH.unpack_from(encoded, place)
        kind, start = encoded[place + 4 : place + 8], place + 8
        place = start + length + 4
        if place > end:
            return None
        if kind == b"IDAT":
            parts.append(encoded[start : start + length])
        elif (
            parts
            or _HARMLESS.get(kind) != length
            or zlib.crc32(encoded[start - 4 : start + length]) != _LENGTH.unpack_from(encoded, start + length)[0]
        ):
            return None
    return parts[0] if len(parts) == 1 else b"".join(parts) or None
