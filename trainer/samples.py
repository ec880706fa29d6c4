"""Held-out images as people send them: files to try a model with, a photo, and the contract's golden vectors."""

import io
import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.contract import Golden
from serving.preprocessing import Pipeline
from serving.preprocessing.decode import decode
from trainer import thumbnails
from trainer.data import Dataset
from trainer.data.dataset import png

_PER_CLASS = 2
_GOLDEN_PNGS = 7
# Room for decoders, which differ in the last bit, and in a JPEG by a little more.
_PNG_TOLERANCE, _JPEG_TOLERANCE = 0.02, 0.1
_GOLDEN_ROWS, _ROW_TOLERANCE = 8, 1e-6
_CANDIDATES, _TRIALS = 100, 8
_GOLDEN_SIDE = 128  # pixels
_log = logging.getLogger(__package__)


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
    """Some held-out images as PNG files and one as a JPEG, each with the tensor that `pipeline` makes of it."""
    places = range(min(_GOLDEN_PNGS, len(heldout.targets)))
    files = [(png(_picture(pipeline, heldout, place)), _PNG_TOLERANCE) for place in places]
    steady = _steady_jpeg(pipeline, heldout, seed)
    if steady:
        files.append((steady, _JPEG_TOLERANCE))
    else:
        _log.info("preprocessing: no JPEG of a held-out image gives a steady tensor, servers are tried on PNGs alone")
    made = [(file, pipeline(file), tolerance) for file, tolerance in files]
    return tuple(
        Golden(encoded=file, tensor=_little_endian(tensor), tolerance=tolerance * _scale(tensor))
        for file, tensor, tolerance in made
    )


def golden_rows(pipeline: Pipeline, heldout: Dataset) -> tuple[Golden, ...]:
    """Some held-out rows as JSON, one without each value that may be missing among them, and what comes of them."""
    rows = heldout.rows([column.name for column in pipeline.columns])
    chosen = dict.fromkeys(range(min(_GOLDEN_ROWS, len(rows))))
    for column in pipeline.columns:
        chosen |= dict.fromkeys([place for place, row in enumerate(rows) if row[column.name] is None][:1])
    files = [json.dumps(rows[place], ensure_ascii=False).encode() for place in chosen]
    made = [(file, pipeline(file)) for file in files]
    return tuple(
        Golden(encoded=file, tensor=_little_endian(tensor), tolerance=_ROW_TOLERANCE * _scale(tensor))
        for file, tensor in made
    )


def write(directory: Path, heldout: Dataset) -> None:
    """Puts a few images of each class into the new `directory`: <label>-<index>.<suffix>, from index 0."""
    directory.mkdir(parents=True)
    for number, label in enumerate(heldout.labels):
        for index, place in enumerate(np.flatnonzero(heldout.targets == number)[:_PER_CLASS]):
            file, suffix = heldout.encoded(place)
            (directory / f"{label}-{index}{suffix}").write_bytes(file)


def _picture(pipeline: Pipeline, heldout: Dataset, place: int) -> NDArray[np.uint8]:
    """An image as pixels; one from a file is made small if `pipeline` takes any size: the contract has to be sent."""
    image: NDArray[np.uint8] = heldout.inputs[place]
    if heldout.inputs.dtype != object:
        return image
    pixels = decode(heldout.encoded(place)[0])
    shrunk = thumbnails.small(pixels, _GOLDEN_SIDE, pipeline, pipeline.from_pixels(pixels).shape)
    # Grey pixels have no channel here, as those that come as such.
    return shrunk[:, :, 0] if shrunk.shape[2] == 1 else shrunk


def _jpeg(pipeline: Pipeline, heldout: Dataset, place: int, rng: np.random.Generator) -> bytes:
    """An image as a JPEG file: of plain pixels a photo."""
    picture = _picture(pipeline, heldout, place)
    if heldout.inputs.dtype != object:
        return photo(picture, rng)
    file = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(file, "JPEG", quality=80)
    return file.getvalue()


def _steady_jpeg(pipeline: Pipeline, heldout: Dataset, seed: int) -> bytes | None:
    """A JPEG of a held-out image whose tensor does not hang on a pixel's last bits.

    Where a stroke fades right at the threshold of a cut, another decoder's rounding moves the whole image by a pixel.
    """
    rng = np.random.default_rng(seed)
    for place in range(len(heldout.targets))[: -_CANDIDATES - 1 : -1]:
        file = _jpeg(pipeline, heldout, place, rng)
        tensor = pipeline(file)
        pixels = np.asarray(Image.open(io.BytesIO(file))).astype(np.int64)
        trials = (np.clip(pixels + rng.integers(-2, 3, pixels.shape), 0, 255).astype(np.uint8) for _ in range(_TRIALS))
        allowed = _JPEG_TOLERANCE * _scale(tensor) / 2
        if all(np.abs(pipeline.from_pixels(trial) - tensor).max() <= allowed for trial in trials):
            return file
    return None


def _scale(tensor: NDArray[np.float32]) -> float:
    """What a tolerance for numbers up to 1 is multiplied by."""
    return max(1.0, float(np.abs(tensor).max()))


def _little_endian(tensor: NDArray[np.float32]) -> bytes:
    return tensor.astype("<f4").tobytes()
