"""What the gateway answers for one instance, and how it is made of a model's outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gateway.backend import Array
from gateway.batch import Batch, Part
from gateway.errors import BackendFailed
from serving.contract import Postprocessing

DEFAULT_TOP_K = 3


# Named tuples: a frozen dataclass takes three times as long to make.
class Score(NamedTuple):
    """One class's score."""

    label: str
    class_index: int
    score: float


class Classification(NamedTuple):
    """The best classes, best first; at least one."""

    top: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class Regression:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Raw:
    """The outputs as they are, without the batch dimension."""

    outputs: Mapping[str, Array]


Answer = Classification | Regression | Raw


def to_answers(outputs: Mapping[str, Array], rows: int, rules: Postprocessing | None, top_k: int) -> list[Answer]:
    """One answer for each of `rows` rows. `rules` is None where no contract says how to read the outputs.

    BackendFailed if the outputs are not what the contract says. Of a part of a batch the whole batch is read at once.
    """
    if rules is None or rules.output is None:
        return [Raw({name: array[row] for name, array in outputs.items()}) for row in range(rows)]
    batch, start = (outputs.batch, outputs.start) if isinstance(outputs, Part) else (Batch(outputs, rows), 0)
    read = batch.read
    if read is None:
        read = batch.read = _Read(batch, rules)
    places = range(start, start + rows)
    if not all(read.finite[start : start + rows]):
        raise BackendFailed(f"the model's output {rules.output!r} holds NaN or infinity", reason="ANSWER_NOT_FINITE")
    if rules.task == "regression":
        return [Regression(read.best_scores[place][0]) for place in places]
    labels = rules.labels
    if top_k in (0, DEFAULT_TOP_K):
        ranked = [(read.best[place], read.best_scores[place]) for place in places]
    else:
        ranked = [(order := read.order[place][:top_k], read.scores[place][order]) for place in places]
        ranked = [(order.tolist(), scores.tolist()) for order, scores in ranked]
    return [
        Classification(tuple([Score(labels[index], index, score) for index, score in zip(order, scores, strict=True)]))
        for order, scores in ranked
    ]


class _Read:
    """What a batch's outputs say by a contract, for each of its rows."""

    def __init__(self, batch: Batch, rules: Postprocessing) -> None:
        scores = batch.outputs.get(rules.output or "")
        classes = len(rules.labels) if rules.task == "classification" else 1
        if scores is None or scores.size != batch.rows * classes or scores.dtype == object:
            raise BackendFailed(f"the model's output {rules.output!r} is not {classes} numbers for each instance")
        self.scores = scores.reshape(batch.rows, classes).astype(np.float64)
        self.finite: list[bool] = np.logical_and.reduce(np.isfinite(self.scores), axis=1).tolist()
        self.order = np.argsort(-self.scores, axis=1, kind="stable")
        best = self.order[:, :DEFAULT_TOP_K]
        self.best: list[list[int]] = best.tolist()
        self.best_scores: list[list[float]] = np.take_along_axis(self.scores, best, axis=1).tolist()
