"""The network, and the augmentation that goes in front of it while it is trained."""

from collections.abc import Sequence
from typing import Any

import keras

from trainer.errors import TrainingError
from trainer.recipe import Augmentation, Network

INPUT, OUTPUT = "image", "probabilities"
_PLANE, _IMAGE = 2, 3  # dimensions of (height, width) and of (height, width, channels)


def build(settings: Network, shape: Sequence[int], classes: int) -> Any:
    """A Keras model: float32 (n, *shape) → probabilities (n, classes), float32."""
    hidden = [
        layer
        for units in settings.hidden
        for layer in (keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(settings.dropout))
    ]
    return keras.Sequential(
        [
            keras.Input(shape, name=INPUT),
            keras.layers.Flatten(),
            *hidden,
            keras.layers.Dense(classes, activation="softmax", name=OUTPUT),
        ]
    )


def augmented(model: Any, settings: Augmentation, shape: Sequence[int]) -> Any:
    """`model` behind random movement of its input, which is off outside training. They share their weights.

    TrainingError if the input, `shape`, is no (height, width) or (height, width, channels) to move.
    """
    layers = keras.layers
    movements = [
        layer(*factors, fill_mode="constant")
        for layer, factors in (
            (layers.RandomRotation, (settings.rotation,)),
            (layers.RandomTranslation, (settings.translation, settings.translation)),
            (layers.RandomZoom, (settings.zoom, settings.zoom)),
        )
        if any(factors)
    ]
    if not movements:
        return model
    if len(shape) not in (_PLANE, _IMAGE):
        raise TrainingError(f"augmentation moves images; preprocessing makes tensors of shape {list(shape)}")
    with_channels = layers.Reshape((*shape, 1)[:_IMAGE])
    return keras.Sequential([keras.Input(shape), with_channels, *movements, layers.Reshape(shape), model])
