"""Small copies of images, for pipelines that take images of any size; pixels are uint8 (height, width, channels)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.preprocessing import InputError, Pipeline


def picture(image: NDArray[np.uint8]) -> Image.Image:
    """Pixels as Pillow has them."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def small(image: NDArray[np.uint8], side: int, pipeline: Pipeline, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Pixels of which no side is longer than `side`; `image` itself where `pipeline` makes no `shape` of those."""
    copy = picture(image)
    copy.thumbnail((side, side))
    pixels = np.asarray(copy).reshape(copy.height, copy.width, -1)
    return image if tensor(pipeline, pixels, shape) is None else pixels


def tensor(pipeline: Pipeline, image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """None where the image is refused, or its tensor is of a shape that the model does not take."""
    try:
        made = pipeline.from_pixels(image)
    except InputError:
        return None
    return made if made.shape == shape else None
