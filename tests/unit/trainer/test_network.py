import sys

import keras
import numpy as np
import pytest

from trainer import network
from trainer.errors import TrainingError
from trainer.recipe import Augmentation

MOVED = Augmentation(rotation=0.1, translation=0.2, zoom=0.2)


def test_the_network_is_as_the_recipe_says(recipe):
    """Each hidden layer is followed by dropout, and a softmax makes the probabilities."""
    model = network.build(recipe(network={"hidden": (8, 4), "dropout": 0.2}), (28, 28), 3)
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [8, 4, 3]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.2, 0.2]
    probabilities = model.predict(np.zeros((5, 28, 28), np.float32), verbose=0)
    assert probabilities.shape == (5, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_augmentation_is_for_training_only(recipe, shape):
    """Inputs are moved in training; otherwise the augmented network is the network."""
    model = network.build(recipe(network={"hidden": (8,), "dropout": 0.0}), shape, 3)
    augmented = network.augmented(model, MOVED, shape)
    inputs = np.random.default_rng(0).random((4, *shape), np.float32)
    plain = model(inputs, training=False).numpy()
    assert np.array_equal(augmented(inputs, training=False), plain)
    assert not np.allclose(augmented(inputs, training=True), plain)


def test_no_augmentation_is_no_layer(recipe):
    """With all movements at 0 the network is trained as it is."""
    model = network.build(recipe(), (28, 28), 3)
    assert network.augmented(model, Augmentation(), (28, 28)) is model


def test_only_images_are_augmented(recipe):
    """A flat input has no direction to be moved in."""
    with pytest.raises(TrainingError, match="augmentation moves images"):
        network.augmented(network.build(recipe(), (784,), 3), MOVED, (784,))


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
def test_the_cnn_takes_images(recipe, shape):
    """Each block of convolutions halves the sides, whatever they are and with or without channels."""
    model = network.build(recipe(network={"build": "trainer.network:cnn", "filters": (4, 8), "hidden": (6,)}), shape, 3)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [4, 4, 8, 8]
    assert model.predict(np.zeros((2, *shape), np.float32), verbose=0).shape == (2, 3)
    with pytest.raises(TrainingError, match="needs images"):
        network.cnn(recipe(), (784,), 3)


def test_a_regression_has_no_softmax(recipe):
    """One output is a value, not a certainty of 1."""
    settings = {"task": "regression", "preprocessing": (), "data": {"source": "diabetes"}}
    assert network.build(recipe(**settings), (10,), 1).layers[-1].activation is keras.activations.linear


def test_tables_are_scaled_inside_the_model():
    """Callers' numbers are brought to mean 0 and variance 1 and the output to the values'; constants do not blow up."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(1000, 50, 400), np.full(400, 3.0)], axis=1).astype(np.float32)
    values = rng.normal(-7, 2, 400).astype(np.float32)
    seen = network.scaled(keras.Sequential([keras.Input((2,)), keras.layers.Identity()]), rows, None)(rows).numpy()
    assert seen.mean(axis=0) == pytest.approx([0, 0], abs=1e-4)
    assert seen.std(axis=0) == pytest.approx([1, 0], abs=1e-4)
    zero = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    assert network.scaled(zero, rows, values)(rows).numpy() == pytest.approx(values.mean())


OWN = """
import keras

def build(recipe, shape, outputs):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])

def wide(recipe, shape, outputs):
    return build(recipe, shape, outputs + 1)

def nothing(recipe, shape, outputs):
    return None
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of one's own, where Python finds it."""
    (tmp_path / "own_network.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_network", None)


@pytest.mark.usefixtures("own")
def test_a_network_of_ones_own_is_named_by_its_import_path(recipe):
    """Any function that Python can import may build the network."""
    model = network.build(recipe(network={"build": "own_network:build"}), (28, 28), 3)
    assert model.output_shape == (None, 3)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:build", "cannot be imported: No module named"),
        ("own_network:missing", "cannot be imported: .*missing"),
        ("own_network:wide", r"made outputs of shape \(None, 4\); expected a keras.Model with \(None, 3\)"),
        ("own_network:nothing", "made NoneType; expected"),
    ],
)
def test_a_network_that_cannot_be_had_is_refused(recipe, path, message):
    """A wrong name, and a function that makes something else, are told apart in one line."""
    with pytest.raises(TrainingError, match=message):
        network.build(recipe(network={"build": path}), (28, 28), 3)
