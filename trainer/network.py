"""The networks that ship, and what goes around a network: scaling for tables, augmentation while it is trained."""

import importlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainingError
from trainer.recipe import Augmentation, Recipe

_PLANE, _IMAGE = 2, 3  # dimensions of (height, width) and of (height, width, channels)


def build(recipe: Recipe, shape: Sequence[int], outputs: int) -> Any:
    """What the function that `recipe.network.build` names makes of `recipe`, `shape` and `outputs`.

    That is a Keras model: float32 (n, *shape) → float32 (n, outputs), probabilities of the classes or one value each.
    TrainingError if there is no such function or it makes anything else.
    """
    path = recipe.network.build
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TrainingError(f"network.build: {path} cannot be imported: {error}") from error
    model = function(recipe, tuple(shape), outputs)
    if not isinstance(model, keras.Model) or model.output_shape != (None, outputs):
        made = f"outputs of shape {model.output_shape}" if isinstance(model, keras.Model) else type(model).__name__
        raise TrainingError(f"network.build: {path} made {made}; expected a keras.Model with (None, {outputs})")
    return model


def prepared(recipe: Recipe, inputs: NDArray[np.float32], targets: NDArray[Any], classes: int) -> tuple[Any, Any]:
    """The network for `inputs`, (n, *shape of one), and `targets`, (n,); and the same as it is to be trained.

    A table's is `scaled`, that for training `augmented`; without `classes` its output is a value. TrainingError as from
    `build`.
    """
    shape = inputs.shape[1:]
    model = build(recipe, shape, classes or 1)
    if recipe.data.tabular:
        model = scaled(model, inputs, None if classes else targets)
    return model, augmented(model, recipe.augmentation, shape)


def dense(recipe: Recipe, shape: Sequence[int], outputs: int) -> Any:
    """Dense layers, each followed by dropout."""
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *_head(recipe, outputs)])


def cnn(recipe: Recipe, shape: Sequence[int], outputs: int) -> Any:
    """Blocks of two convolutions of 3 × 3 and a pooling that halves the sides, then dense layers.

    TrainingError if `shape` is no (height, width) or (height, width, channels).
    """
    if len(shape) not in (_PLANE, _IMAGE):
        raise TrainingError(f"a convolution needs images; the input has the shape {list(shape)}")
    layers = keras.layers
    blocks = [
        layer
        for filters in recipe.network.filters
        for layer in (
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(padding="same"),
        )
    ]
    with_channels = layers.Reshape((*shape, 1)[:_IMAGE])
    return keras.Sequential([keras.Input(shape), with_channels, *blocks, layers.Flatten(), *_head(recipe, outputs)])


def _head(recipe: Recipe, outputs: int) -> list[Any]:
    settings, layers = recipe.network, keras.layers
    hidden = [
        layer
        for units in settings.hidden
        for layer in (layers.Dense(units, activation="relu"), layers.Dropout(settings.dropout))
    ]
    return [*hidden, layers.Dense(outputs, activation="linear" if recipe.task == "regression" else "softmax")]


def scaled(model: Any, inputs: NDArray[np.float32], values: NDArray[np.float32] | None) -> Any:
    """`model` between layers that bring each column of `inputs`, (n, columns), to mean 0 and variance 1, and its output
    to the mean and variance of `values`, (n,), if it is to give such: callers send and get plain numbers.
    """
    variance = inputs.var(axis=0, dtype=np.float64)
    # A column that never varied in training says nothing; divided by next to nothing it would drown the others.
    normalize = keras.layers.Normalization(
        mean=inputs.mean(axis=0, dtype=np.float64), variance=np.where(variance > 0, variance, 1.0)
    )
    layers = [keras.Input(inputs.shape[1:]), normalize, model]
    if values is not None:
        layers.append(keras.layers.Rescaling(float(values.std()), offset=float(values.mean())))
    return keras.Sequential(layers)


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
        raise TrainingError(f"augmentation moves images; the input has the shape {list(shape)}")
    with_channels = layers.Reshape((*shape, 1)[:_IMAGE])
    return keras.Sequential([keras.Input(shape), with_channels, *movements, layers.Reshape(shape), model])
