import random

import numpy as np
import pytest

from trainer import fit, network
from trainer.recipe import Augmentation, Fit, Network


def train(bars, on_epoch):
    """The probabilities that a network gives after three epochs on the bars."""
    fit.make_repeatable(3)
    inputs = bars.images.astype(np.float32) / 255
    model = network.build(Network(hidden=(16,)), (28, 28), 3)
    augmented = network.augmented(model, Augmentation(translation=0.02), (28, 28))
    examples = (inputs, bars.labels)
    fit.fit(augmented, Fit(epochs=3, batch_size=16, learning_rate=0.01), examples, examples, on_epoch=[on_epoch])
    return model.predict(inputs, verbose=0)


@pytest.fixture(scope="module")
def trained(bars):
    """Those probabilities, and what was reported on the way."""
    reports = []
    return train(bars, lambda *report: reports.append(report)), reports


def test_the_network_learns(trained, bars):
    """After a few epochs the network tells the classes apart."""
    probabilities, _ = trained
    assert (probabilities.argmax(axis=1) == bars.labels).mean() > 0.9


def test_every_epoch_is_reported(trained):
    """Epochs are counted from 1, each with its figures on training and held-out images."""
    _, reports = trained
    assert [number for number, _ in reports] == [1, 2, 3]
    assert set(reports[0][1]) == {"train_loss", "train_accuracy", "heldout_loss", "heldout_accuracy"}


def test_one_seed_gives_one_model(trained, bars):
    """Two runs agree to the last bit, dropout and augmentation included, whatever draws random numbers meanwhile."""
    again = train(bars, lambda *_: (random.random(), np.random.random()))  # noqa: NPY002 - the state that is shared
    assert np.array_equal(again, trained[0])
