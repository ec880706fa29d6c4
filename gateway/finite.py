"""Whether tensors hold numbers; asked of batches, as of one row it would take longer than all else about the row."""

import numpy as np

from gateway.backend import Array, Tensors
from gateway.errors import NotFinite

# What the method `all` comes to, at half its price.
_all = np.logical_and.reduce


def check_finite(inputs: Tensors) -> None:
    """NotFinite if one of the arrays holds NaN or infinity."""
    for name, array in inputs.items():
        if not is_finite(array):
            raise NotFinite(f"the tensor {name!r} holds NaN or infinity; expected finite numbers")


def is_finite(array: Array) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    # "V" is how numpy files the types that it does not know itself, such as bfloat16.
    return array.dtype.kind not in "fcV" or bool(_all(np.isfinite(array), axis=None))
