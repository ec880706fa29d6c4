import keras
import numpy as np
import pytest

from trainer import network
from trainer.errors import TrainingError
from trainer.recipe import Augmentation, Network

MOVED = Augmentation(rotation=0.1, translation=0.2, zoom=0.2)


def test_the_network_is_as_the_recipe_says():
    """Each hidden layer is followed by dropout, and a softmax makes the probabilities."""
    model = network.build(Network(hidden=(8, 4), dropout=0.2), (28, 28), 3)
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [8, 4, 3]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.2, 0.2]
    probabilities = model.predict(np.zeros((5, 28, 28), np.float32), verbose=0)
    assert probabilities.shape == (5, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_augmentation_is_for_training_only(shape):
    """Inputs are moved in training; otherwise the augmented network is the network."""
    model = network.build(Network(hidden=(8,), dropout=0.0), shape, 3)
    augmented = network.augmented(model, MOVED, shape)
    inputs = np.random.default_rng(0).random((4, *shape), np.float32)
    plain = model(inputs, training=False).numpy()
    assert np.array_equal(augmented(inputs, training=False), plain)
    assert not np.allclose(augmented(inputs, training=True), plain)


def test_no_augmentation_is_no_layer():
    """With all movements at 0 the network is trained as it is."""
    model = network.build(Network(), (28, 28), 3)
    assert network.augmented(model, Augmentation(), (28, 28)) is model


def test_only_images_are_augmented():
    """A flat input has no direction to be moved in."""
    with pytest.raises(TrainingError, match="augmentation moves images"):
        network.augmented(network.build(Network(), (784,), 3), MOVED, (784,))
