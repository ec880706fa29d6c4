"""What a graph refuses to go on with."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def checked(holds: Any, text: list[Any], make: Callable[[], Any]) -> Any:
    """What `make` makes, but not before it was seen that something holds: else InvalidArgumentError with `text`."""
    with tf.control_dependencies([tf.debugging.Assert(holds, text)]):
        return tf.identity(make())
