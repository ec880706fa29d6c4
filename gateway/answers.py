"""What the gateway answers for one instance, and how it is made of a model's outputs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    labels: Sequence[str]
    """Of every class of the model."""
    classes: Sequence[int]
    """The best ones' indices."""
    scores: Sequence[float]

    @property
    def top(self) -> tuple[Score, ...]:
        """The best classes with all that is known of each."""
        return tuple(Score(self.labels[i], i, score) for i, score in zip(self.classes, self.scores, strict=True))


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
    read: _Read = batch.read
    if read is None:
        read = batch.read = _Read(batch, rules)
    if not (read.all_finite or read.finite[start : start + rows].all()):
        raise BackendFailed(f"the model's output {rules.output!r} holds NaN or infinity", reason="ANSWER_NOT_FINITE")
    if top_k in (0, DEFAULT_TOP_K) or rules.task == "regression":
        return read.answers[start : start + rows]
    order = read.order[start : start + rows, :top_k]
    return _classifications(rules.labels, order, np.take_along_axis(read.scores[start : start + rows], order, axis=1))


def of_all_rows(part: Part) -> Sequence[Answer] | None:
    """The answers of the whole batch that a part is of, by the default number of classes, where they are known."""
    read: _Read | None = part.batch.read
    return None if read is None else read.answers


def _classifications(labels: Sequence[str], order: Array, scores: Array) -> list[Answer]:
    """The answers whose classes are `order` and their scores `scores`, a row each."""
    return list(map(Classification._make, zip(itertools.repeat(labels), order.tolist(), scores.tolist())))


class _Read:
    """What a batch's outputs say by a contract, for each of its rows."""

    def __init__(self, batch: Batch, rules: Postprocessing) -> None:
        scores = batch.outputs.get(rules.output or "")
        classes = len(rules.labels) if rules.task == "classification" else 1
        if scores is None or scores.size != batch.rows * classes or scores.dtype == object:
            raise BackendFailed(f"the model's output {rules.output!r} is not {classes} numbers for each instance")
        self.scores = scores.reshape(batch.rows, classes).astype(np.float64)
        self.finite: Any = np.isfinite(self.scores).all(axis=1)
        self.all_finite = bool(self.finite.all())
        self.answers: list[Answer]
        """Of all rows by the default number of classes: together they cost what a few do one by one."""
        if rules.task == "regression":
            self.answers = [Regression(value) for value in self.scores[:, 0].tolist()]
            return
        self.order = np.argsort(-self.scores, axis=1, kind="stable")
        best = self.order[:, :DEFAULT_TOP_K]
        self.answers = _classifications(rules.labels, best, np.take_along_axis(self.scores, best, axis=1))
