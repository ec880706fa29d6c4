"""The last steps: from pixels to the numbers and the layout that a model takes."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serving.preprocessing.many import elementwise

Array = NDArray[Any]


@elementwise
def normalize(image: Array, *, scale: float = 1 / 255, offset: float = 0.0) -> NDArray[np.float32]:
    """Value × `scale` + `offset`, as float32."""
    return image.astype(np.float32) * np.float32(scale) + np.float32(offset)


def layout(image: Array, *, order: Literal["HW", "HWC", "CHW", "flat"]) -> Array:
    """Arranges the dimensions: a grey plane gains or loses its channel, channels move first, or all become one."""
    if order == "flat":
        return image.reshape(-1)
    if order == "HW":
        return image.reshape(image.shape[:2])
    channels_last = image.reshape(*image.shape[:2], -1)
    return channels_last if order == "HWC" else np.ascontiguousarray(np.moveaxis(channels_last, -1, 0))


@elementwise
def cast(
    image: Array, *, dtype: Literal["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"]
) -> Array:
    """Converts to `dtype`, towards zero for integers."""
    return image.astype(dtype, copy=False)
