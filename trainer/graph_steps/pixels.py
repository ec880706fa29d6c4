"""Steps that treat an image as an image: uint8, (height, width) or (height, width, channels); as Pillow computes."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_OPAQUE = 255
_MIDDLE = 128
_GREY, _RGBA = 1, 4
# ITU-R 601, as Pillow rounds it: in 65536ths.
_LUMA, _HALF = (19595, 38470, 7471), 0x8000
# Pillow's weights are integers: 2^22 is 1.
_ONE = float(1 << 22)
_IMAGE = 3  # dimensions of an image with channels


def grayscale(image: Any, *, transparent: str) -> Any:
    """Luma by ITU-R 601: (height, width, channels) → (height, width)."""
    channels = tf.shape(image)[2]
    return tf.case(
        [
            (tf.equal(channels, _GREY), lambda: image[:, :, 0]),
            (tf.equal(channels, _RGBA), lambda: _over_ground(image, transparent)),
        ],
        default=lambda: tf.cast(_luma(image), tf.uint8),
    )


def _luma(image: Any) -> Any:
    red, green, blue = (tf.cast(image[:, :, tf.minimum(n, tf.shape(image)[2] - 1)], tf.int32) for n in range(3))
    return (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2] + _HALF) // (_HALF * 2)


def _over_ground(image: Any, transparent: str) -> Any:
    luma = tf.cast(_luma(image), tf.float32)
    alpha = tf.cast(image[:, :, tf.shape(image)[2] - 1], tf.float32) / _OPAQUE
    if transparent == "contrast":
        visible = tf.reduce_sum(alpha)
        light = tf.reduce_sum(luma * alpha) >= _MIDDLE * visible
        behind = tf.where(light & (visible > 0), 0.0, float(_OPAQUE))
    else:
        behind = tf.constant(float(_OPAQUE) if transparent == "white" else 0.0)
    return tf.cast(tf.round(luma * alpha + behind * (1 - alpha)), tf.uint8)


def shrink(image: Any, *, max_side: int) -> Any:
    """Scales an image down, by area, until its longer side is `max_side`; a smaller one stays as it is."""
    sides = tf.shape(image)[:2]
    longer = tf.reduce_max(sides)
    wanted = _scaled(sides, max_side / tf.cast(longer, tf.float64))
    return tf.cond(longer <= max_side, lambda: image, lambda: _resized(image, wanted, "box"))


def denoise(image: Any, *, size: int, min_side: int) -> Any:
    """Median filter against specks: (height, width)."""

    def median() -> Any:
        height, width = tf.unstack(tf.shape(image))
        reach = size // 2
        # Beyond the edge is what is on the edge.
        rows = [tf.clip_by_value(tf.range(height) + shift, 0, height - 1) for shift in range(-reach, reach + 1)]
        columns = [tf.clip_by_value(tf.range(width) + shift, 0, width - 1) for shift in range(-reach, reach + 1)]
        moved = [tf.gather(tf.gather(image, row), column, axis=1) for row in rows for column in columns]
        return tf.math.top_k(tf.stack(moved, axis=-1), size * size // 2 + 1).values[:, :, -1]

    return tf.cond(tf.reduce_min(tf.shape(image)) < min_side, lambda: image, median)


def resize(image: Any, *, height: int, width: int, fit: str, method: str) -> Any:
    """Resizes to `height` × `width` ("fill"), or to the largest within that keeps the proportions ("contain")."""
    sides = tf.shape(image)[:2]
    wanted = tf.constant([height, width])
    if fit == "contain":
        wanted = _scaled(sides, tf.reduce_min(tf.cast(wanted, tf.float64) / tf.cast(sides, tf.float64)))
    return tf.cond(tf.reduce_all(sides == wanted), lambda: image, lambda: _resized(image, wanted, method))


def _scaled(sides: Any, scale: Any) -> Any:
    return tf.maximum(1, tf.cast(tf.round(tf.cast(sides, tf.float64) * scale), tf.int32))


def _resized(image: Any, wanted: Any, method: str) -> Any:
    if method == "nearest":
        rows, columns = (_nearest(tf.shape(image)[axis], wanted[axis]) for axis in (0, 1))
        return tf.gather(tf.gather(image, rows), columns, axis=1)
    if image.shape.rank < _IMAGE:
        return _resampled(image[:, :, tf.newaxis], wanted, method)[:, :, 0]
    # What is transparent has no colour to lend.
    return tf.cond(
        tf.equal(tf.shape(image)[2], _RGBA),
        lambda: _divided(_resampled(_premultiplied(image), wanted, method)),
        lambda: _resampled(image, wanted, method),
    )


def _nearest(size: Any, wanted: Any) -> Any:
    scale = tf.cast(size, tf.float64) / tf.cast(wanted, tf.float64)
    # One after another, as Pillow adds them up: a product would round otherwise.
    return tf.cast(tf.cumsum(tf.concat([[scale / 2], tf.fill([wanted - 1], scale)], axis=0)), tf.int32)


def _premultiplied(image: Any) -> Any:
    wide = tf.cast(image, tf.int32)
    product = wide[:, :, :-1] * wide[:, :, -1:] + _MIDDLE
    colours = (product // 256 + product) // 256
    return tf.cast(tf.concat([colours, wide[:, :, -1:]], axis=2), tf.uint8)


def _divided(image: Any) -> Any:
    wide = tf.cast(image, tf.int32)
    colours, alpha = wide[:, :, :-1], wide[:, :, -1:]
    divided = tf.minimum(_OPAQUE * colours // tf.maximum(alpha, 1), _OPAQUE)
    colours = tf.where((alpha == 0) | (alpha == _OPAQUE), colours, divided)
    return tf.cast(tf.concat([colours, alpha], axis=2), tf.uint8)


def _resampled(image: Any, wanted: Any, method: str) -> Any:
    """Along the rows, then along the columns, with 8 bits in between (Pillow's libImaging/Resample.c).

    As Pillow 13 does, first along the columns where they lose more than twice as many pixels.
    """
    lost = tf.shape(image)[:2] - wanted

    def rows(image: Any) -> Any:
        return tf.transpose(columns(tf.transpose(image, [1, 0, 2]), axis=1), [1, 0, 2])

    def columns(image: Any, axis: int = 0) -> Any:
        return _along_columns(image, wanted[axis], method)

    return tf.cond(lost[0] > tf.maximum(2 * lost[1], 0), lambda: rows(columns(image)), lambda: columns(rows(image)))


def _along_columns(image: Any, wanted: Any, method: str) -> Any:
    shape = tf.shape(image)
    weights = _weights(shape[0], wanted, method)
    columns = tf.cast(tf.reshape(image, [shape[0], -1]), tf.float64)
    # Sums of whole numbers, exact in float64.
    sums = tf.sparse.sparse_dense_matmul(weights, columns)
    levels = tf.clip_by_value(tf.floor((sums + _ONE / 2) / _ONE), 0, _OPAQUE)
    return tf.reshape(tf.cast(levels, tf.uint8), [wanted, shape[1], shape[2]])


def _weights(size: Any, wanted: Any, method: str) -> Any:
    """What each of `size` pixels adds to each of `wanted`: a sparse matrix (wanted, size) of whole numbers."""
    support, function = _FILTERS[method]
    scale = tf.cast(size, tf.float64) / tf.cast(wanted, tf.float64)
    stretch = tf.maximum(scale, 1.0)
    reach = support * stretch
    centers = (tf.cast(tf.range(wanted), tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centers - reach + 0.5, tf.int32), 0)
    last = tf.minimum(tf.cast(centers + reach + 0.5, tf.int32), size)
    places = first[:, tf.newaxis] + tf.range(2 * tf.cast(tf.math.ceil(reach), tf.int32) + 1)
    distances = (tf.cast(places, tf.float64) - centers[:, tf.newaxis] + 0.5) / stretch
    weights = tf.where(places < last[:, tf.newaxis], function(distances), 0.0)
    weights *= _ONE / tf.reduce_sum(weights, axis=1, keepdims=True)
    whole = tf.sign(weights) * tf.floor(tf.abs(weights) + 0.5)
    rows = tf.broadcast_to(tf.range(wanted)[:, tf.newaxis], tf.shape(places))
    # Those beyond the last weigh nothing.
    inside = tf.minimum(places, size - 1)
    indices = tf.cast(tf.stack([tf.reshape(rows, [-1]), tf.reshape(inside, [-1])], axis=1), tf.int64)
    return tf.SparseTensor(indices, tf.reshape(whole, [-1]), tf.cast(tf.stack([wanted, size]), tf.int64))


def _box(x: Any) -> Any:
    return tf.where((x > -0.5) & (x <= 0.5), tf.ones_like(x), 0.0)  # noqa: PLR2004 - a width of 1


def _triangle(x: Any) -> Any:
    return tf.maximum(1.0 - tf.abs(x), 0.0)


def _cubic(x: Any) -> Any:
    a, x = -0.5, tf.abs(x)
    inner = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    return tf.where(x < 1, inner, tf.where(x < 2, outer, tf.zeros_like(x)))  # noqa: PLR2004 - where its pieces meet


def _sinc(x: Any) -> Any:
    radians = tf.where(x == 0, tf.ones_like(x), x * math.pi)
    return tf.where(x == 0, tf.ones_like(x), tf.sin(radians) / radians)


def _lanczos(x: Any) -> Any:
    return tf.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), tf.zeros_like(x))  # noqa: PLR2004 - three lobes


# How far each reaches, and its weight at a distance.
_FILTERS: dict[str, tuple[float, Callable[[Any], Any]]] = {
    "box": (0.5, _box),
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic),
    "lanczos": (3.0, _lanczos),
}
