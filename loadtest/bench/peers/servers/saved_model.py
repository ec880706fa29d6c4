"""The model, as a user of TensorFlow loads it."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PORT, DIRECTORY = int(os.environ["BENCH_PORT"]), os.environ["BENCH_MODEL"]


def load(directory: str = DIRECTORY) -> Callable[[Any], Any]:
    """Probabilities, float32 of shape (n, 10), for images, float32 of shape (n, 28, 28)."""
    import tensorflow as tf  # noqa: PLC0415  # in the process that needs it, where a peer has several

    model = tf.saved_model.load(directory)
    signature = model.signatures["serving_default"]

    def predict(images: Any) -> Any:
        # The model goes with its signature only if something holds it.
        assert model
        return signature(image=tf.constant(images, tf.float32))["probabilities"].numpy()

    return predict
