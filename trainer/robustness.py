"""How accuracy holds when the held-out images get worse before they are preprocessed, as those of callers may be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serving.contract import Contract
from serving.preprocessing import own_steps
from trainer import thumbnails
from trainer.data import Dataset

IMAGES: Final = 500
_SIDE = 256  # pixels, that photos are made small to
_NOISE = 25.0  # levels of 255
_SHIFT = 0.1  # of each side
_ROTATION = 15.0  # degrees
_BLUR = 0.03  # of the shorter side
_CONTRAST = 0.4  # that is left

# Pixels, uint8 (height, width, channels), in and out.
Corruption = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


@dataclass(frozen=True)
class Slice:
    """Accuracy on some of the held-out images, all corrupted in one way."""

    accuracy: float
    by_class: tuple[float | None, ...]
    """In the order of the labels; None of a class that has no image among them."""


def slices(
    predict: Callable[[NDArray[np.float32]], NDArray[Any]], contract: Contract, heldout: Dataset, seed: int
) -> dict[str, Slice]:
    """A slice for each of CORRUPTIONS, and `clean` for comparison, by name; all of the same images, 500 at most.

    `predict` gives probabilities for tensors that `contract` has made of images: a model of tables has no slices. Large
    images are made small first where preprocessing takes any size. One that is refused when corrupted counts as wrong.
    """
    pipeline = contract.pipeline(own_steps(contract.preprocessing))
    if not pipeline.accepts_images:
        return {}
    rng = np.random.default_rng(seed)
    count = len(heldout.targets)
    places = np.sort(rng.choice(count, min(IMAGES, count), replace=False))
    decoding, shape = contract.preprocessing[0], contract.input.shape
    images = [thumbnails.small(heldout.pixels(place, decoding), _SIDE, pipeline, shape) for place in places.tolist()]
    truth = heldout.targets[places]
    found = {}
    for name, corrupt in CORRUPTIONS.items():
        tensors = [thumbnails.tensor(pipeline, corrupt(image, rng), shape) for image in images]
        accepted = np.array([tensor is not None for tensor in tensors])
        right = np.zeros(len(truth), bool)
        if accepted.any():
            outputs = predict(np.stack([tensor for tensor in tensors if tensor is not None]))
            right[accepted] = outputs.argmax(axis=1) == truth[accepted]
        of_class = [right[truth == number] for number in range(len(heldout.labels))]
        by_class = tuple(float(each.mean()) if each.size else None for each in of_class)
        found[name] = Slice(float(right.mean()), by_class)
    return found


def _noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return _coloured(image, lambda colour: colour + rng.normal(0, _NOISE, colour.shape))


def _shift(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    down, right = rng.choice([-1, 1], 2) * np.ceil(np.array([height, width]) * _SHIFT)
    return _moved(image, translate=(int(right), int(down)))


def _rotation(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return _moved(image, angle=_ROTATION * float(rng.choice([-1, 1])))


def _blur(image: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
    blurred = thumbnails.picture(image).filter(ImageFilter.GaussianBlur(_BLUR * min(image.shape[:2])))
    return np.asarray(blurred).reshape(image.shape)


def _contrast(image: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
    return _coloured(image, lambda colour: colour.mean() + _CONTRAST * (colour - colour.mean()))


def _inverted(image: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
    return _coloured(image, lambda colour: 255 - colour)


def _coloured(
    image: NDArray[np.uint8], change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.uint8]:
    """`change` of the levels of grey or of red, green and blue; what is transparent stays so."""
    changed = change(image[:, :, :3].astype(np.float64))
    return np.concatenate([np.clip(np.rint(changed), 0, 255).astype(np.uint8), image[:, :, 3:]], axis=2)


def _moved(image: NDArray[np.uint8], *, angle: float = 0, translate: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Turned and shifted; what comes in from outside has the colour of most of the border."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    fill = tuple(np.median(border, axis=0).astype(int).tolist())
    moved = thumbnails.picture(image).rotate(
        angle, Image.Resampling.BILINEAR, translate=translate, fillcolor=fill if len(fill) > 1 else fill[0]
    )
    return np.asarray(moved).reshape(image.shape)


CORRUPTIONS: Final[Mapping[str, Corruption]] = {
    "clean": lambda image, _: image,
    "noise": _noise,
    "shift": _shift,
    "rotation": _rotation,
    "blur": _blur,
    "contrast": _contrast,
    "inverted": _inverted,
}
