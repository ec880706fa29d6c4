"""What the gateway answers for one instance, and how it is made of a model's outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gateway.backend import Array
from gateway.errors import BackendFailed
from serving.contract import Postprocessing

DEFAULT_TOP_K = 3


@dataclass(frozen=True, slots=True)
class Score:
    """One class's score."""

    label: str
    class_index: int
    score: float


@dataclass(frozen=True, slots=True)
class Classification:
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

    BackendFailed if the outputs are not what the contract says.
    """
    if rules is None or rules.output is None:
        return [Raw({name: array[row] for name, array in outputs.items()}) for row in range(rows)]
    scores = outputs.get(rules.output)
    classes = len(rules.labels) if rules.task == "classification" else 1
    if scores is None or scores.size != rows * classes or scores.dtype == object:
        raise BackendFailed(f"the model's output {rules.output!r} is not {classes} numbers for each instance")
    scores = scores.reshape(rows, classes).astype(np.float64)
    if not np.isfinite(scores).all():
        raise BackendFailed(f"the model's output {rules.output!r} holds NaN or infinity", reason="ANSWER_NOT_FINITE")
    if rules.task == "regression":
        return [Regression(value) for value in scores[:, 0].tolist()]
    best = np.argsort(-scores, axis=1, kind="stable")[:, : top_k or DEFAULT_TOP_K]
    return [
        Classification(tuple(Score(rules.labels[index], index, float(row[index])) for index in order))
        for row, order in zip(scores, best.tolist(), strict=True)
    ]
