"""Fits the network to the training images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.recipe import Fit

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]
# Takes the number of epochs done and their figures by name.
OnEpoch = Callable[[int, Mapping[str, float]], None]

_NAMES = {
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "val_loss": "heldout_loss",
    "val_accuracy": "heldout_accuracy",
}


def make_repeatable(seed: int) -> None:
    """Seeds everything random, and has TensorFlow compute in a fixed order. Before the network is built."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(model: Any, settings: Fit, training: Examples, heldout: Examples, on_epoch: Sequence[OnEpoch]) -> None:
    """Trains a Keras model of probabilities on tensors and class numbers; nothing is decided by the held-out ones.

    Each of `on_epoch` gets train_loss and train_accuracy (with dropout and augmentation on), heldout_loss and
    heldout_accuracy.
    """
    steps = settings.epochs * -(-len(training[1]) // settings.batch_size)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )

    def report(epoch: int, logs: Mapping[str, float]) -> None:
        for call in on_epoch:
            call(epoch + 1, {name: logs[key] for key, name in _NAMES.items()})

    model.fit(
        *training,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        validation_data=heldout,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
        verbose=0,
    )
