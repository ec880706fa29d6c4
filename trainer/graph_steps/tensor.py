"""The last steps: from pixels to the numbers and the layout that a model takes."""

from typing import Any

import tensorflow as tf


def normalize(image: Any, *, scale: float, offset: float) -> Any:
    """Value × `scale` + `offset`, as float32."""
    return tf.cast(image, tf.float32) * tf.constant(scale, tf.float32) + tf.constant(offset, tf.float32)


def layout(image: Any, *, order: str) -> Any:
    """Arranges the dimensions."""
    if order == "flat":
        return tf.reshape(image, [-1])
    shape = tf.shape(image)
    if order == "HW":
        return tf.reshape(image, shape[:2])
    channels_last = tf.reshape(image, [shape[0], shape[1], -1])
    return channels_last if order == "HWC" else tf.transpose(channels_last, [2, 0, 1])


def cast(image: Any, *, dtype: str) -> Any:
    """Converts to `dtype`, towards zero for integers."""
    return tf.cast(image, dtype)
