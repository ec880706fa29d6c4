"""The first step of an image pipeline: from the bytes of a file to pixels."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.graph_steps.checks import checked

_RGB_BITS = 24
_GREY_ALPHA, _RGBA = 2, 4
_HEAD = 65_536  # bytes that a JPEG's EXIF data are looked for in
_ORIENTATION = 0x0112


def decode(encoded: Any, *, max_pixels: int, shrink_to: int | None) -> Any:
    """Decodes an image and turns it upright: uint8, (height, width, channels) with 1 (grey), 3 (RGB) or 4 (RGBA).

    Reads PNG, JPEG, GIF (the first picture, its transparent parts painted), WebP and BMP of 24 bits, but no TIFF. Only
    a JPEG is turned. Other versions of the libraries that decode JPEG and WebP round otherwise.
    """
    image = tf.case(
        [
            (_starts(encoded, b"\xff\xd8\xff"), lambda: _jpeg(encoded, max_pixels, shrink_to)),
            (_starts(encoded, b"\x89PNG\r\n\x1a\n"), lambda: _png(encoded, max_pixels)),
            (_starts(encoded, b"GIF8"), lambda: _gif(encoded, max_pixels)),
            (_starts(encoded, b"BM"), lambda: _bmp(encoded, max_pixels)),
            (_starts(encoded, b"RIFF"), lambda: _webp(encoded, max_pixels)),
        ],
        default=_unreadable,
    )
    return tf.ensure_shape(image, (None, None, None))


def _starts(encoded: Any, magic: bytes) -> Any:
    return tf.equal(tf.strings.substr(encoded, 0, len(magic)), magic)


def _unreadable() -> Any:
    return checked(
        tf.constant(False),
        ["the bytes are not an image that can be read; expected PNG, JPEG, GIF, WebP or BMP"],
        lambda: tf.zeros([0, 0, 0], tf.uint8),
    )


def _png(encoded: Any, max_pixels: int) -> Any:
    # The size is in the first chunk, big-endian.
    size = [_number(encoded, place, tf.int32, little=False) for place in (16, 20)]
    return _within(size, max_pixels, lambda: _with_colour(tf.io.decode_png(encoded)))


def _gif(encoded: Any, max_pixels: int) -> Any:
    size = [_number(encoded, place, tf.uint16) for place in (6, 8)]
    return _within(size, max_pixels, lambda: tf.io.decode_gif(encoded)[0])


def _bmp(encoded: Any, max_pixels: int) -> Any:
    size = [_number(encoded, place, tf.int32) for place in (18, 22)]
    bits = _number(encoded, 28, tf.uint16)
    return _within(
        size,
        max_pixels,
        lambda: checked(bits == _RGB_BITS, ["expected a BMP of 24 bits"], lambda: tf.io.decode_bmp(encoded)),
    )


def _webp(encoded: Any, max_pixels: int) -> Any:
    # Its size stands in one of three places. Neither side is above 16,383: what is decoded for nothing is bounded.
    image = tf.io.decode_webp(encoded)[0]
    size = tf.unstack(tf.cast(tf.shape(image)[:2], tf.int64))
    return _within(size, max_pixels, lambda: tf.identity(image))


def _jpeg(encoded: Any, max_pixels: int, shrink_to: int | None) -> Any:
    size = tf.unstack(tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64))
    ratios = (1, 2, 4, 8) if shrink_to else (1,)

    def decoder(ratio: int) -> Callable[[], Any]:
        # The way that Pillow transforms back.
        return lambda: tf.io.decode_jpeg(encoded, ratio=ratio, dct_method="INTEGER_ACCURATE")

    def decoded() -> Any:
        if not shrink_to:
            return decoder(1)()
        room = tf.minimum(*size) // shrink_to
        index = tf.reduce_sum([tf.cast(room >= ratio, tf.int32) for ratio in ratios[1:]])
        return tf.switch_case(index, [decoder(ratio) for ratio in ratios])

    return _upright(_within(size, max_pixels, decoded), _orientation(encoded))


def _with_colour(image: Any) -> Any:
    """Grey with transparency becomes RGBA."""
    return tf.cond(
        tf.shape(image)[2] == _GREY_ALPHA, lambda: tf.gather(image, [0, 0, 0, 1], axis=2), lambda: tf.identity(image)
    )


def _upright(image: Any, orientation: Any) -> Any:
    """Turned by what EXIF says of its orientation, 1 to 8."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)  # noqa: PLR2004 - as EXIF has it
    axes = (((3, 4, 7, 8), 0), ((2, 3, 6, 7), 1))
    for orientations, axis in axes:
        flipped = tf.reduce_any(orientation == tf.constant(orientations))
        image = tf.cond(flipped, lambda image=image, axis=axis: tf.reverse(image, [axis]), lambda image=image: image)
    return image


def _orientation(encoded: Any) -> Any:
    """What a JPEG's EXIF data say, 1 where there are none or they cannot be read: int32."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, _HEAD), tf.uint8), tf.int32)
    size = tf.size(head)

    def number(places: Any, length: int) -> Any:
        """The numbers of `length` bytes at `places`; beyond the end there are zeros."""
        places = places[..., tf.newaxis] + tf.range(length)
        inside = (places >= 0) & (places < size)
        digits = tf.where(inside, tf.gather(head, tf.clip_by_value(places, 0, size - 1)), 0)
        powers = tf.constant([256**place for place in range(length)])
        return tf.reduce_sum(digits * tf.where(little, powers, powers[::-1]), axis=-1)

    mark = [tf.roll(head, -place, 0) == byte for place, byte in enumerate(b"Exif\0\0")]
    found = tf.cast(tf.where(tf.reduce_all(mark, axis=0))[:, 0], tf.int32)
    start = tf.concat([found, [size]], axis=0)[0] + 6
    little = tf.strings.substr(encoded, tf.minimum(start, size - 1), 1) == b"I"
    directory = start + number(start + 4, 4)
    entries = directory + 2 + 12 * tf.range(number(directory, 2))
    values = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == _ORIENTATION)
    value = tf.concat([values, [1]], axis=0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)  # noqa: PLR2004 - as EXIF has it


def _number(encoded: Any, place: int, kind: Any, *, little: bool = True) -> Any:
    # What is cut short has zeros there: an error of `substr` would quote the bytes, which are no text.
    head = tf.strings.join([tf.strings.substr(encoded, 0, 32), "\0" * 32])
    raw = tf.io.decode_raw(tf.strings.substr(head, place, kind.size), kind, little_endian=little)
    return tf.abs(tf.cast(raw[0], tf.int64))


def _within(size: list[Any], max_pixels: int, decoded: Callable[[], Any]) -> Any:
    first, second = size
    return checked(
        first * second <= max_pixels, ["an image of", *size, f"pixels; expected {max_pixels} at most"], decoded
    )
