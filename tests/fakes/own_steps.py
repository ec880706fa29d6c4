"""Steps of one's own, as a user would write them, right and wrong."""

from os import system  # noqa: F401 - what a contract must not reach
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from serving.preprocessing import InputError

CONSTANT = 3


def crop_border(image: NDArray[np.uint8], *, width: Annotated[int, Field(ge=0)] = 0) -> NDArray[np.uint8]:
    """Cuts `width` pixels off each side; refuses an image that would have none left."""
    if min(image.shape[:2]) <= 2 * width:
        raise InputError("BORDER_TOO_WIDE", f"nothing is left of {image.shape[0]}×{image.shape[1]}")
    return image[width : image.shape[0] - width, width : image.shape[1] - width]


class Brighten(BaseModel):
    """Adds `by` to every level."""

    by: Annotated[int, Field(ge=0, le=255)]

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.clip(image.astype(np.int64) + self.by, 0, 255).astype(np.uint8)


def logarithm(table: dict[str, NDArray[Any]], *, columns: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The natural logarithm of columns of positive numbers; fails on others."""
    for name in columns:
        if (table[name] <= 0).any():
            raise ArithmeticError(f"secret: no logarithm of {table[name].min()}")
    return {**table, **{name: np.log(table[name]) for name in columns}}


def fail_on_black(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fails on an image without a bright pixel."""
    if not image.any():
        raise RuntimeError("secret: all black")
    return image


def to_list(image: NDArray[np.uint8]) -> list[int]:
    """Returns what is no array."""
    return image.ravel().tolist()


def halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns an array of another shape if the first pixel is bright."""
    return image[::2] if image.flat[0] else image


def nothing() -> None:
    """Takes no input."""


def anything(image: NDArray[np.uint8], **options: Any) -> NDArray[np.uint8]:
    """Has no schema."""
    return image


def untyped(image, *, width=1):
    """Has a parameter of no type."""
    return image[width:]


class Plain:
    """Is a class, but no pydantic model."""


class Silent(BaseModel):
    """Cannot be called."""
