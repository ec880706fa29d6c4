"""What captured requests and their answers are compared by."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.drift.comparison import Comparison, compare
from gateway.drift.sketch import Feature, Kind
from serving.reference import by_quantiles, of_images
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy

Values = dict[tuple[Kind, str], NDArray[Any]]
Captures = tuple[Values, Values]
"""What is the reference, and what is compared with it."""

_BATCH, _COLUMNS = 1, 2


def of_requests(logs: Iterable[tfs.PredictLog]) -> Values:
    """The values of each feature, (n,), over all rows.

    Of inputs: what `of_images` gives of images, else columns by number, or what was captured instead. Of outputs:
    the best class by number and its score, or the value.
    """
    found: dict[tuple[Kind, str], list[NDArray[Any]]] = {}
    for log in logs:
        for name, proto in log.request.inputs.items():
            for feature, values in _of_input(name, to_numpy(proto)):
                found.setdefault((Kind.INPUT, feature), []).append(values)
        several = len(log.response.outputs) > 1
        for name, proto in log.response.outputs.items():
            for kind, values in _of_output(to_numpy(proto)):
                title = f"{kind.value} ({name})" if several else kind.value
                found.setdefault((kind, title), []).append(values)
    return {key: np.concatenate(arrays) for key, arrays in found.items()}


def beside(reference: Values, current: Values) -> list[Comparison]:
    """Each feature that both have, in the bins of the first."""
    features, parts = [], []
    for (kind, name), values in reference.items():
        if (kind, name) not in current:
            continue
        if kind is Kind.PREDICTION and values.dtype.kind in "iu":
            classes = int(max(values.max(), current[kind, name].max())) + 1
            feature = Feature(kind, name, np.bincount(values, minlength=classes), None, tuple(map(str, range(classes))))
        else:
            histogram = by_quantiles(values)
            feature = Feature(kind, name, np.array(histogram.counts, np.int64), histogram)
        features.append(feature)
        parts.append(feature.count(current[kind, name]))
    return compare(features, parts)


def _of_input(name: str, tensor: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    if tensor.dtype == object or not tensor.ndim:
        return
    if tensor.ndim > _COLUMNS:
        yield from of_images(tensor).items()
    elif tensor.ndim == _BATCH:
        yield name, tensor.astype(np.float64)
    else:
        for number, column in enumerate(tensor.T):
            yield f"{name}[{number}]", column.astype(np.float64)


def _of_output(tensor: NDArray[Any]) -> Iterator[tuple[Kind, NDArray[Any]]]:
    if not np.issubdtype(tensor.dtype, np.floating) or not tensor.ndim:
        return
    rows = tensor.reshape(tensor.shape[0], -1)
    if rows.shape[1] == 1:
        yield Kind.PREDICTION, rows[:, 0].astype(np.float64)
    else:
        yield Kind.PREDICTION, rows.argmax(axis=1)
        yield Kind.CONFIDENCE, rows.max(axis=1).astype(np.float64)
