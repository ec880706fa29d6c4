"""Steps that treat an image as an image, whatever it shows."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from pydantic import Field

from serving.preprocessing.many import by_shape, for_stacks

Pixels = NDArray[np.uint8]
Side = Annotated[int, Field(ge=1, le=16_384)]
Method = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]

_OPAQUE = 255
_MIDDLE = 128
_GREY, _RGBA = 1, 4
_PLANE = 2  # dimensions of a grey image


@for_stacks
def grayscale(images: Pixels, *, transparent: Literal["contrast", "white", "black"] = "contrast") -> Pixels:
    """Luma by ITU-R 601: (height, width, channels) → (height, width).

    What lies behind transparent pixels is `transparent`; "contrast" takes white behind dark ink and black behind light.
    """
    channels = images.shape[3]
    if channels == _GREY:
        return images[..., 0]
    if channels != _RGBA:
        return _luma(images)
    return np.stack(
        [
            _on_ground(luma, alpha, transparent)
            for luma, alpha in zip(_luma(images[..., :3]), images[..., 3], strict=True)
        ]
    )


def _luma(images: Pixels) -> Pixels:
    count, height, width, channels = images.shape
    column = np.ascontiguousarray(images).reshape(count * height, width, channels)
    return np.asarray(Image.fromarray(column).convert("L")).reshape(count, height, width)


def _on_ground(levels: Pixels, opacity: Pixels, transparent: str) -> Pixels:
    luma, alpha = levels.astype(np.float32), opacity.astype(np.float32) / _OPAQUE
    if transparent == "contrast":
        visible = float(alpha.sum())
        behind = 0 if visible and float((luma * alpha).sum()) / visible >= _MIDDLE else _OPAQUE
    else:
        behind = _OPAQUE if transparent == "white" else 0
    return np.rint(luma * alpha + behind * (1 - alpha)).astype(np.uint8)


@by_shape
def shrink(image: Pixels, *, max_side: Side) -> Pixels:
    """Scales an image down, by area, until its longer side is `max_side`; a smaller one stays as it is."""
    height, width = image.shape[:2]
    if max(height, width) <= max_side:
        return image
    scale = max_side / max(height, width)
    return _resized(image, max(1, round(height * scale)), max(1, round(width * scale)), "box")


@by_shape
def denoise(image: Pixels, *, size: Literal[3, 5] = 3, min_side: Side = 64) -> Pixels:
    """Median filter against specks: (height, width). Images with a side below `min_side` have no pixel to spare."""
    if min(image.shape) < min_side:
        return image
    return np.asarray(Image.fromarray(image).filter(ImageFilter.MedianFilter(size)))


@by_shape
def resize(
    image: Pixels, *, height: Side, width: Side, fit: Literal["fill", "contain"] = "fill", method: Method = "bilinear"
) -> Pixels:
    """Resizes to `height` × `width` ("fill"), or to the largest size within it that keeps the proportions ("contain").

    Scaling down averages over the pixels that fall together, whatever the method.
    """
    if fit == "contain":
        scale = min(height / image.shape[0], width / image.shape[1])
        if scale == 1:
            return image
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if image.shape[:2] == (height, width):
        return image
    return _resized(image, height, width, method)


def _resized(image: Pixels, height: int, width: int, method: Method) -> Pixels:
    plane = image[:, :, 0] if image.ndim > _PLANE and image.shape[2] == _GREY else image
    resized = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling[method.upper()]))
    return resized.reshape(height, width, *image.shape[2:])
