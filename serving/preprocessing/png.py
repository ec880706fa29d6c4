"""Small PNGs as most programs write them: what Pillow spends on opening one is several times what decoding takes."""

import struct
from zlib import crc32

from PIL import Image

# Up to so many pixels opening is most of the cost.
_MAX_PIXELS = 1 << 16
SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
# Width, height, bit depth, colour type; compression, filter method and interlacing have no other values here.
_HEADER = struct.Struct(">IIBB3xI")
_LENGTH, _FIRST = struct.Struct(">I"), 33
_MODES = {0: "L", 2: "RGB", 6: "RGBA"}
_DEPTH = 8
_END = b"\0\0\0\0IEND\xaeB`\x82"
# Chunks that change no pixel, with their lengths.
_HARMLESS = {b"sRGB": 1, b"gAMA": 4, b"pHYs": 9, b"tIME": 7, b"cHRM": 32}


def small(encoded: bytes, max_pixels: int) -> Image.Image | None:
    """The image in a file of 8-bit grey, RGB or RGBA that is whole and has nothing else in it; None for any other.

    What it returns is what `Image.open` and `load` would: the same decoder runs. None says nothing about the file.
    """
    if not (encoded.startswith(SIGNATURE) and encoded.endswith(_END) and encoded[26:29] == b"\0\0\0"):
        return None
    width, height, depth, colour, checksum = _HEADER.unpack_from(encoded, 16)
    mode = _MODES.get(colour)
    pixels = width * height
    if not 0 < pixels <= min(max_pixels, _MAX_PIXELS) or mode is None or depth != _DEPTH:
        return None
    if crc32(encoded[12:29]) != checksum:
        return None
    data = _data(encoded)
    if data is None:
        return None
    try:
        return Image.frombytes(mode, (width, height), data, "zip", mode)
    except ValueError:
        # Cut short or damaged: whoever opens the file in full says what it is.
        return None


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
            or crc32(encoded[start - 4 : start + length]) != _LENGTH.unpack_from(encoded, start + length)[0]
        ):
            return None
    return b"".join(parts) if parts else None
