"""Whether two answers to the same request say the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy

# Of numbers that are no scores: servers round differently.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-6
_SCORES = 2


@dataclass(frozen=True)
class Agreement:
    """How far the rows of two answers agree."""

    rows: int
    agreed: int
    distance: float
    """The largest difference of two numbers; 0 where there are none."""


def agreement(expected: tfs.PredictResponse, actual: tfs.PredictResponse) -> Agreement:
    """Compares the outputs that both have, row by row; without one nothing agrees.

    Scores, floats of several to a row, agree if the same is the highest; other floats if they are within a thousandth;
    whatever else if it is equal. TensorError if an output is no tensor.
    """
    names = sorted(expected.outputs.keys() & actual.outputs.keys())
    pairs = [(to_numpy(expected.outputs[name]), to_numpy(actual.outputs[name])) for name in names]
    if not pairs or any(first.shape != second.shape for first, second in pairs):
        return Agreement(_rows(expected.outputs), 0, 0.0)
    same = [_same(first, second) for first, second in pairs]
    rows = np.logical_and.reduce([each for each in same if each.size == same[0].size])
    return Agreement(rows.size, int(rows.sum()), max((_distance(*pair) for pair in pairs), default=0.0))


def _rows(outputs: Mapping[str, Any]) -> int:
    shapes = [to_numpy(proto).shape for proto in outputs.values()]
    return max((shape[0] for shape in shapes if shape), default=1)


def _same(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each row agrees, (n,)."""
    rows = first.shape[0] if first.ndim else 1
    first, second = first.reshape(rows, -1), second.reshape(rows, -1)
    if not np.issubdtype(first.dtype, np.floating):
        return np.asarray((first == second).all(axis=1))
    if first.shape[1] >= _SCORES:
        return np.asarray(first.argmax(axis=1) == second.argmax(axis=1))
    return np.asarray(np.isclose(second, first, rtol=_RELATIVE, atol=_ABSOLUTE).all(axis=1))


def _distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    if not np.issubdtype(first.dtype, np.number):
        return 0.0
    return float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0.0))
