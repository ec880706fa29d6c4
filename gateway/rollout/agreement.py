"""Whether two versions say the same, and how far apart they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from gateway.answers import Answer, Classification, Raw, Regression
from gateway.backend import Tensors
from gateway.errors import GatewayError
from gateway.predictor import Inference, Prediction
from serving.wire import codec
from serving.wire import tensorflow_serving_pb2 as tfs


@dataclass(frozen=True, slots=True)
class Comparison:
    """One instance's two answers."""

    agree: bool
    distance: float
    """For classes the total variation between the scores that both list, 0 to 1; for numbers the mean difference."""


def compare(stable: Any, candidate: Any, tolerance: float) -> list[Comparison]:
    """The comparisons of two answers of `router.ask`, whatever protocol they are for; none if they cannot be read.

    Numbers agree if they differ by at most `tolerance` relative to the larger one.
    """
    pairs = zip(_answers(stable), _answers(candidate), strict=False)
    return [_compare(one, other, tolerance) for one, other in pairs if one is not None and other is not None]


def _answers(answer: Any) -> Iterator[Answer | None]:
    """An answer's instances, None for those that have none."""
    if isinstance(answer, bytes):
        try:
            response = tfs.PredictResponse.FromString(answer)
            outputs = {name: codec.to_numpy(proto) for name, proto in response.outputs.items()}
        except (DecodeError, codec.TensorError):
            outputs = {}
        yield from _rows(outputs)
    elif isinstance(answer, Inference):
        if answer.predictions:
            yield from (prediction.answer for prediction in answer.predictions)
        else:
            yield from _rows(answer.outputs)
    else:
        for prediction in answer:
            yield None if isinstance(prediction, GatewayError) else _answer(prediction)


def _answer(prediction: Prediction) -> Answer:
    return prediction.answer


def _rows(outputs: Tensors) -> Iterator[Answer]:
    rows = {array.shape[0] if array.ndim else 0 for array in outputs.values()}
    if len(rows) == 1:
        for row in range(rows.pop()):
            yield Raw({name: array[row] for name, array in outputs.items()})


def _compare(stable: Answer, candidate: Answer, tolerance: float) -> Comparison:
    if isinstance(stable, Classification) and isinstance(candidate, Classification):
        one, other = ({score.label: score.score for score in answer.top} for answer in (stable, candidate))
        distance = sum(abs(one[label] - other[label]) for label in one.keys() & other.keys()) / 2
        return Comparison(stable.top[0].label == candidate.top[0].label, distance)
    if isinstance(stable, Regression) and isinstance(candidate, Regression):
        return _numbers(np.array(stable.value), np.array(candidate.value), tolerance)
    if isinstance(stable, Raw) and isinstance(candidate, Raw):
        return _raw(stable, candidate, tolerance)
    return Comparison(agree=False, distance=1.0)


def _raw(stable: Raw, candidate: Raw, tolerance: float) -> Comparison:
    """Outputs of which nobody says what they mean: of several numbers, the place of the largest is the answer."""
    if stable.outputs.keys() != candidate.outputs.keys():
        return Comparison(agree=False, distance=1.0)
    found = []
    for name, one in stable.outputs.items():
        other = candidate.outputs[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            return Comparison(agree=False, distance=1.0)
        if one.dtype.kind not in "fiu" or one.size == 0:
            found.append(Comparison(bool(np.array_equal(one, other)), 0.0))
        elif one.size > 1 and one.dtype.kind == "f":
            distance = float(np.abs(one.astype(np.float64) - other).mean())
            found.append(Comparison(bool(one.argmax() == other.argmax()), distance))
        else:
            found.append(_numbers(one.astype(np.float64), other.astype(np.float64), tolerance))
    if not found:
        return Comparison(agree=True, distance=0.0)
    return Comparison(all(one.agree for one in found), max(one.distance for one in found))


def _numbers(stable: Any, candidate: Any, tolerance: float) -> Comparison:
    difference = np.abs(stable - candidate)
    agree = bool((difference <= tolerance * np.maximum(np.abs(stable), np.abs(candidate))).all())
    return Comparison(agree, float(difference.mean()))
