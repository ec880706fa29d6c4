"""Steps for one bright thing on a dark ground; uint8 (height, width) in and out."""

from typing import Any

import tensorflow as tf

from trainer.graph_steps.checks import checked

_WHITE = 255
_LEVELS = tuple(range(256))
_MAD_TO_SIGMA = 1.4826


def invert_light_background(image: Any) -> Any:
    """Inverts an image whose ground is light, so that what is drawn is bright on dark."""
    low, high = tf.cast(tf.reduce_min(image), tf.int64), tf.cast(tf.reduce_max(image), tf.int64)
    middle = _exact(tf.where(low < high, low + high, _WHITE)) / 2
    light = _exact(_quantile(_counts(image), 0.5)) > middle
    return tf.where(light, _WHITE - image, image)


def flatten_background(image: Any, *, tolerance: int, grid: int) -> Any:
    """Takes uneven light out of the ground: subtracts a quadratic surface fitted to it."""
    counts = _counts(image)
    even = _quantile(counts, 0.6) - _quantile(counts, 0.05) <= tolerance
    return tf.cond(even, lambda: image, lambda: _flat(image, grid))


def _flat(image: Any, grid: int) -> Any:
    shape = tf.shape(image)
    stride = tf.maximum(1, tf.reduce_min(shape) // grid)
    sample = _exact(image[::stride, ::stride])
    terms = tf.reshape(_quadratic(tf.shape(sample)), [-1, 6])
    values = tf.reshape(sample, [-1])
    kept = values <= _percentile(values, 0.9)
    coefficients = tf.zeros([6, 1], tf.float64)
    for _ in range(5):
        known = tf.boolean_mask(terms, kept)
        # Not the fast way: it fails where a term is no use, as in an image of one row.
        coefficients = tf.linalg.lstsq(known, tf.boolean_mask(values, kept)[:, tf.newaxis], fast=False)
        residual = values - (terms @ coefficients)[:, 0]
        spread = _MAD_TO_SIGMA * _percentile(tf.boolean_mask(tf.abs(residual), kept), 0.5) + 1.0
        kept = residual < 2 * spread
    ground = tf.reshape(tf.reshape(_quadratic(shape), [-1, 6]) @ coefficients, shape)
    return tf.cast(tf.clip_by_value(_exact(image) - ground, 0, _WHITE), tf.uint8)


def stretch_contrast(image: Any, *, min_contrast: int) -> Any:
    """Maps the ground with its noise to 0 and the ink to 255, linearly in between, by Otsu's threshold.

    What is blank, with less than `min_contrast` between them, is refused.
    """
    counts = _counts(image)
    levels = tf.constant(_LEVELS, tf.int64)
    threshold = _otsu(counts)
    ground, ink = tf.where(levels <= threshold, counts, 0), tf.where(levels > threshold, counts, 0)
    level = _quantile(ground, 0.5)
    both = tf.reduce_any(ink > 0) & tf.reduce_any(ground > 0)
    contrast = tf.where(both, _quantile(ink, 0.9) - level, 0)

    def stretched() -> Any:
        deviation = tf.math.unsorted_segment_sum(ground, tf.abs(levels - level), 256)
        low = tf.minimum(_exact(level) + 3 * _MAD_TO_SIGMA * _exact(_quantile(deviation, 0.5)), _exact(threshold))
        high = tf.maximum(_exact(level + contrast), low + 1)
        mapped = tf.round(tf.clip_by_value((_exact(levels) - low) * (_WHITE / (high - low)), 0, _WHITE))
        return tf.gather(tf.cast(mapped, tf.uint8), tf.cast(image, tf.int32))

    return checked(
        contrast >= max(min_contrast, 1),
        ["the image is blank: its levels are", contrast, f"apart; expected {min_contrast} at least"],
        stretched,
    )


def crop_to_content(image: Any, *, threshold: int) -> Any:
    """Cuts an image to the rectangle of the pixels above `threshold`; one without any stays as it is."""
    above = image > threshold
    rows, columns = (tf.where(tf.reduce_any(above, axis=axis))[:, 0] for axis in (1, 0))
    return tf.cond(
        tf.size(rows) > 0, lambda: image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], lambda: image
    )


def thicken(image: Any, *, share: float, min_side: int) -> Any:
    """Thickens thin strokes until `share` of the pixels are ink."""
    longer = tf.reduce_max(tf.shape(image))
    rounds = tf.where(longer < min_side, 0, longer // 16)

    def thin(done: Any, grown: Any) -> Any:
        mean = _exact(tf.reduce_sum(tf.cast(grown, tf.int64))) / _exact(tf.size(grown))
        return (done < rounds) & (mean < share * _WHITE)

    def grow(done: Any, grown: Any) -> Any:
        padded = tf.cast(tf.pad(grown, [[1, 1], [1, 1]]), tf.float32)[tf.newaxis, :, :, tf.newaxis]
        return done + 1, tf.cast(tf.nn.max_pool2d(padded, 3, 1, "SAME")[0, :, :, 0], tf.uint8)

    any_size = tf.TensorShape([None, None])
    return tf.while_loop(thin, grow, (tf.constant(0), image), shape_invariants=(tf.TensorShape([]), any_size))[1]


def center_of_mass(image: Any, *, height: int, width: int) -> Any:
    """Puts an image on a dark canvas of `height` × `width`, its centre of mass in the middle as far as it fits."""
    image = image[:height, :width]
    wide = tf.cast(image, tf.int64)
    weight = tf.reduce_sum(wide)
    margins = []
    for axis, side in enumerate((height, width)):
        length = tf.shape(image)[axis]
        moment = tf.reduce_sum(tf.reduce_sum(wide, axis=1 - axis) * tf.range(tf.cast(length, tf.int64)))
        middle = tf.where(weight > 0, _exact(moment) / _exact(tf.maximum(weight, 1)), _exact(length - 1) / 2)
        before = tf.clip_by_value(tf.cast(tf.round(side / 2 - middle), tf.int32), 0, side - length)
        margins.append(tf.stack([before, side - length - before]))
    return tf.ensure_shape(tf.pad(image, tf.stack(margins)), (height, width))


def _exact(values: Any) -> Any:
    return tf.cast(values, tf.float64)


def _counts(image: Any) -> Any:
    """How many pixels each of the 256 levels has: int64 (256,)."""
    flat = tf.cast(tf.reshape(image, [-1]), tf.int32)
    return tf.math.unsorted_segment_sum(tf.ones_like(flat, tf.int64), flat, 256)


def _quantile(counts: Any, share: float) -> Any:
    """The lowest level that at least `share` of the pixels do not exceed: int64."""
    below = tf.cumsum(counts)
    return tf.reduce_sum(tf.cast(_exact(below) < share * _exact(below[-1]), tf.int64))


def _percentile(values: Any, share: float) -> Any:
    """Between two values linearly, as numpy's."""
    ordered = tf.sort(values)
    place = share * _exact(tf.size(values) - 1)
    low = tf.cast(place, tf.int32)
    first, second = ordered[low], ordered[tf.minimum(low + 1, tf.size(values) - 1)]
    return first + (second - first) * (place - _exact(low))


def _otsu(counts: Any) -> Any:
    """The level that splits the histogram into the two classes with the largest variance between them: int64."""
    below = _exact(tf.cumsum(counts))
    mass = _exact(tf.cumsum(counts * tf.constant(_LEVELS, tf.int64)))
    total, above = below[-1], below[-1] - below
    spread = mass[-1] * below - mass * total
    return tf.argmax(tf.math.divide_no_nan(spread * spread, below * above))


def _quadratic(shape: Any) -> Any:
    """1, x, y, x², xy, y² at every pixel, x and y from -1 to 1: (height, width, 6)."""
    sides = [tf.linspace(tf.constant(-1.0, tf.float64), 1.0, shape[axis]) for axis in (0, 1)]
    y, x = tf.meshgrid(*sides, indexing="ij")
    return tf.stack([tf.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
