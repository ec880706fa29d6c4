"""Predictions as counts in the reference's bins: of fixed size whatever the traffic, and added to be merged."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.answers import Answer, Classification, Regression
from gateway.drift.statistics import Counts
from gateway.observations import Observation
from serving.contract import Contract, Histogram, Reference
from serving.reference import counted, of_inputs, of_sources


class Kind(enum.Enum):
    """What a feature is of."""

    INPUT = "input"
    PREDICTION = "prediction"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, eq=False)
class Feature:
    """Something that the reference counts: in bins in order, or by label."""

    kind: Kind
    name: str
    reference: Counts
    histogram: Histogram | None
    labels: tuple[str, ...] = ()
    """Of the counts, where there is no histogram."""

    def count(self, values: NDArray[Any]) -> Counts:
        """How many of `values`, (n,), are in each bin; classes are values by their number."""
        if self.histogram is None:
            return np.bincount(values.astype(np.int64), minlength=len(self.labels))
        return counted(values, self.histogram)


class Sketch:
    """What a version's contract has counted, and where in one vector the counts of each feature are."""

    def __init__(self, contract: Contract, reference: Reference, ignored: Sequence[str] = ()) -> None:
        self.features = tuple(_features(contract, reference, ignored))
        ends = np.cumsum([feature.reference.size for feature in self.features])
        self._slices = [
            slice(end - feature.reference.size, end) for feature, end in zip(self.features, ends, strict=True)
        ]
        self.size = int(ends[-1]) if self.features else 0
        self._contract = contract

    def parts(self, counts: Counts) -> list[Counts]:
        """The counts of each feature."""
        return [counts[part] for part in self._slices]

    def count(self, observations: Sequence[Observation]) -> Counts:
        """The counts of all rows. A row that was no image has none of the features of images as they came."""
        values = _values(self._contract, observations)
        counts = np.zeros(self.size, np.int64)
        for feature, part in zip(self.features, self._slices, strict=True):
            found = values.get((feature.kind, feature.name))
            if found is not None and found.size:
                counts[part] = feature.count(found)
        return counts


def _features(contract: Contract, reference: Reference, ignored: Sequence[str]) -> Iterator[Feature]:
    for name, histogram in reference.inputs.items():
        if name not in ignored:
            yield _binned(Kind.INPUT, name, histogram)
    labels = contract.postprocessing.labels
    if reference.predictions and labels:
        counts = np.array([reference.predictions.get(label, 0) for label in labels], np.int64)
        yield Feature(Kind.PREDICTION, Kind.PREDICTION.value, counts, None, labels)
    if reference.values and contract.postprocessing.task == "regression":
        yield _binned(Kind.PREDICTION, Kind.PREDICTION.value, reference.values)
    if reference.confidence and labels:
        yield _binned(Kind.CONFIDENCE, Kind.CONFIDENCE.value, reference.confidence)


def _binned(kind: Kind, name: str, histogram: Histogram) -> Feature:
    return Feature(kind, name, np.array(histogram.counts, np.int64), histogram)


def _values(contract: Contract, observations: Sequence[Observation]) -> dict[tuple[Kind, str], NDArray[Any]]:
    """The values of each feature, (n,), that the observations have."""
    found: dict[tuple[Kind, str], list[NDArray[Any]]] = {}
    by_shape: dict[tuple[int, ...], list[NDArray[Any]]] = {}
    for observation in observations:
        tensor = observation.inputs[contract.input.name]
        by_shape.setdefault(tensor.shape[1:], []).append(tensor)
    features = [of_inputs(contract, np.concatenate(tensors)) for tensors in by_shape.values()]
    sources = [source for observation in observations for source in observation.sources if source]
    if sources:
        features.append(of_sources(sources))
    for values in features:
        for name, array in values.items():
            found.setdefault((Kind.INPUT, name), []).append(array)
    classified = [answer for answer in _answers(observations) if isinstance(answer, Classification)]
    numbers = [answer.value for answer in _answers(observations) if isinstance(answer, Regression)]
    best = [answer.classes[0] for answer in classified]
    predicted = np.array(best, np.int64) if best else np.array(numbers, np.float64)
    found[Kind.PREDICTION, Kind.PREDICTION.value] = [predicted]
    found[Kind.CONFIDENCE, Kind.CONFIDENCE.value] = [np.array([answer.scores[0] for answer in classified], np.float64)]
    return {key: np.concatenate(arrays) for key, arrays in found.items()}


def _answers(observations: Sequence[Observation]) -> Iterator[Answer]:
    for observation in observations:
        yield from observation.answers
