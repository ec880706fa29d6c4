"""Held-out images as people send them: PNG files to try a model with, a photo, and the contract's golden vectors."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.contract import Golden
from serving.preprocessing import Pipeline
from trainer.data import Dataset
from trainer.errors import TrainingError

_PER_CLASS = 2
_GOLDEN_PNGS = 7
# Room for decoders, which differ in the last bit, and in a JPEG by a little more.
_PNG_TOLERANCE, _JPEG_TOLERANCE = 0.02, 0.1
_TRIALS = 8


def png(image: NDArray[np.uint8]) -> bytes:
    """A (height, width) image as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def photo(image: NDArray[np.uint8], rng: np.random.Generator, side: int = 320) -> bytes:
    """A JPEG of `side` × `side`: white-on-black `image` drawn dark on off-white paper, in uneven light, with noise."""
    size = int(side * rng.uniform(0.35, 0.8))
    top, left = rng.integers(0, side - size, 2)
    ink = np.zeros((side, side))
    drawn = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    ink[top : top + size, left : left + size] = np.asarray(drawn) / 255
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 - rng.uniform(0, 0.3) * (np.cos(angle) * x + np.sin(angle) * y)
    paper, pen = rng.uniform(150, 245), rng.uniform(10, 70)
    grey = (paper * (1 - ink) + pen * ink) * light / light.max() + rng.normal(0, rng.uniform(1, 10), ink.shape)
    warm = np.clip(np.stack([grey, grey * 0.97, grey * 0.9], axis=-1), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(warm).save(file, "JPEG", quality=80)
    return file.getvalue()


def golden(pipeline: Pipeline, heldout: Dataset, seed: int) -> tuple[Golden, ...]:
    """Some held-out images as PNG files and one as a photo, each with the tensor that `pipeline` makes of it."""
    files = [(png(image), _PNG_TOLERANCE) for image in heldout.images[:_GOLDEN_PNGS]]
    files.append((_steady_photo(pipeline, heldout, seed), _JPEG_TOLERANCE))
    return tuple(
        Golden(encoded=file, tensor=_little_endian(pipeline(file)), tolerance=tolerance) for file, tolerance in files
    )


def write(directory: Path, heldout: Dataset, labels: Sequence[str]) -> None:
    """Puts a few images of each class into the new `directory`: <label>-<index>.png, from index 0."""
    directory.mkdir(parents=True)
    for number, label in enumerate(labels):
        for index, image in enumerate(heldout.images[heldout.labels == number][:_PER_CLASS]):
            (directory / f"{label}-{index}.png").write_bytes(png(image))


def _steady_photo(pipeline: Pipeline, heldout: Dataset, seed: int) -> bytes:
    """A photo of a held-out image whose tensor does not hang on a pixel's last bits.

    Where a stroke fades right at the threshold of a cut, another decoder's rounding moves the whole image by a pixel.
    """
    rng = np.random.default_rng(seed)
    for image in heldout.images[::-1]:
        file = photo(image, rng)
        tensor = pipeline(file)
        pixels = np.asarray(Image.open(io.BytesIO(file))).astype(np.int64)
        trials = (np.clip(pixels + rng.integers(-2, 3, pixels.shape), 0, 255).astype(np.uint8) for _ in range(_TRIALS))
        if all(np.abs(pipeline.from_pixels(trial) - tensor).max() <= _JPEG_TOLERANCE / 2 for trial in trials):
            return file
    raise TrainingError("preprocessing: no photo of a held-out image gives a steady tensor")


def _little_endian(tensor: NDArray[np.float32]) -> bytes:
    return tensor.astype("<f4").tobytes()
