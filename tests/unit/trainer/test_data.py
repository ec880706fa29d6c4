import socket

import keras
import numpy as np
import pytest

from serving.preprocessing import Step, build
from trainer import data
from trainer.data import Dataset
from trainer.errors import TrainingError
from trainer.samples import png


def refuse():
    """Fails as Keras does without internet."""
    raise Exception("URL fetch failure")  # noqa: TRY002 - as Keras does


def test_the_packaged_images_are_mnist():
    """mnist5k is 5,000 real digits of 28 × 28, each class with 500."""
    dataset = data.load("mnist5k", 10)
    assert dataset.images.shape == (5000, 28, 28)
    assert dataset.images.dtype == np.uint8
    assert np.bincount(dataset.labels).tolist() == [500] * 10


def test_auto_falls_back_to_the_packaged_images(monkeypatch, caplog, bars):
    """Without internet, auto takes mnist5k, says so, and leaves the sockets' timeout as it was."""
    monkeypatch.setattr(keras.datasets.mnist, "load_data", refuse)
    monkeypatch.setattr(data, "_mnist5k", lambda: bars)
    caplog.set_level("INFO", "trainer")
    assert data.load("auto", 3) is bars
    assert "URL fetch failure" in caplog.text
    assert socket.getdefaulttimeout() is None


def test_mnist_does_not_fall_back(monkeypatch):
    """Who asks for all of MNIST does not get a part of it."""
    monkeypatch.setattr(keras.datasets.mnist, "load_data", refuse)
    with pytest.raises(TrainingError, match="URL fetch failure"):
        data.load("mnist", 10)


def test_mnist_is_both_of_its_parts(monkeypatch):
    """MNIST's own training and test images are pooled: what is held out is the recipe's to say."""
    images, labels = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: ((images, labels), (images[:10], labels[:10])))
    assert len(data.load("mnist", 10).labels) == 30


def test_a_label_too_few_is_refused(monkeypatch, bars):
    """The recipe names as many labels as the data has classes, or learns so before training."""
    monkeypatch.setattr(data, "_mnist5k", lambda: bars)
    with pytest.raises(TrainingError, match=r"names 2 labels, the data has the classes \[0, 1, 2\]"):
        data.load("mnist5k", 2)


def test_the_split_is_stratified_and_repeatable(bars):
    """Each class gives the same share, no image is in both parts, and a seed picks the same images again."""
    training, heldout = data.split(bars, 0.2, seed=1)
    assert np.bincount(heldout.labels).tolist() == [4, 4, 4]
    assert len(training.labels) == 48
    seen = {image.tobytes() for image in training.images}
    assert not any(image.tobytes() in seen for image in heldout.images)
    assert data.split(bars, 0.2, seed=1)[1].digest == heldout.digest != data.split(bars, 0.2, seed=2)[1].digest


def test_a_split_without_every_class_is_refused(bars):
    """A share that leaves a class out is an error, not a silent gap."""
    with pytest.raises(TrainingError, match="cannot be split"):
        data.split(bars, 0.01, seed=1)


def test_tensors_are_what_servers_make_of_the_files(bars, steps):
    """Training sees the very tensors that serving makes of the same image as a file."""
    pipeline = build(steps)
    tensors = data.tensors(pipeline, bars.images)
    assert tensors.shape == (60, 28, 28)
    assert np.array_equal(tensors[7], pipeline(png(bars.images[7])))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (Step(name="cast", parameters={"dtype": "uint8"}), "makes uint8, the network takes float32"),
        (Step(name="crop_to_content", parameters={"threshold": 200}), "preprocessing: "),
    ],
)
def test_tensors_that_no_network_takes_are_refused(bars, last, message):
    """Preprocessing must make float32, and one shape of all images."""
    images = bars.images.copy()
    images[0, 9:] = 0  # a shorter bar
    with pytest.raises(TrainingError, match=message):
        data.tensors(build([Step(name="decode"), Step(name="grayscale"), last]), images)


def test_the_digest_tells_datasets_apart(bars):
    """Another pixel or another label is another digest."""
    images, labels = bars.images.copy(), bars.labels.copy()
    images[0, 0, 0] ^= 1
    labels[0] = 2
    digests = {bars.digest, Dataset(images, bars.labels, "").digest, Dataset(bars.images, labels, "").digest}
    assert len(digests) == 3
    assert Dataset(bars.images, bars.labels, "elsewhere").digest == bars.digest
