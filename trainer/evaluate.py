"""Figures on the held-out examples, and the distributions that drift is measured against."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from serving.contract import Histogram, Reference
from trainer.calibration import reliability

_BINS = 10
_INK = 0.5


def quality(outputs: NDArray[Any], truth: NDArray[Any], labels: Sequence[str]) -> dict[str, float]:
    """The `figures` of outputs (n, classes), or the `errors` of outputs (n, 1) where there are no `labels`."""
    return figures(outputs, truth, labels) if labels else errors(outputs[:, 0], truth)


def figures(probabilities: NDArray[Any], truth: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float]:
    """Quality by name, of probabilities (n, classes) for the true classes (n,).

    `brier` is 0 to 2, of two classes 0 to 1; `ece` the expected calibration error; `roc_auc` the mean over the classes,
    each against the rest, left out where the truth has a single class.
    """
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(labels))
    # Rounded to float32, they add up to 1 less exactly than log_loss demands.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "accuracy": float((predicted == truth).mean()),
        "instances": float(truth.size),
        "log_loss": float(log_loss(truth, exact, labels=classes)),
        "brier": float(brier_score_loss(truth, exact, labels=classes)),
        "ece": reliability(probabilities, truth).error,
        **_roc_auc(probabilities, truth),
        **_by_class(predicted, truth, labels),
    }


def _by_class(predicted: NDArray[np.int64], truth: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float]:
    """Precision, recall and F1: their averages, then those of each class. Of one label each, `micro_` is accuracy."""
    found: dict[str, float] = {}
    measures = ("precision", "recall", "f1")
    options = {"labels": np.arange(len(labels)), "zero_division": 0.0}
    for average in ("macro", "micro", "weighted"):
        values = precision_recall_fscore_support(truth, predicted, average=average, **options)
        found |= {f"{average}_{name}": float(value) for name, value in zip(measures, values, strict=False)}
    by_class = precision_recall_fscore_support(truth, predicted, **options)
    for name, values in zip(measures, by_class, strict=False):
        found |= {f"{name}_{label}": float(value) for label, value in zip(labels, values, strict=True)}
    return found


def _roc_auc(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> dict[str, float]:
    present = np.unique(truth)
    if present.size < 2:  # noqa: PLR2004 - one class has no rest
        return {}
    areas = [roc_auc_score(truth == number, probabilities[:, number]) for number in present]
    return {"roc_auc": float(np.mean(areas))}


def errors(values: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Quality by name, of predicted values (n,) for the true ones (n,): errors in the target's unit, and R².

    `bias` is how much too high they are on an average.
    """
    return {
        "rmse": float(root_mean_squared_error(truth, values)),
        "instances": float(truth.size),
        "mae": float(mean_absolute_error(truth, values)),
        "r2": float(r2_score(truth, values)),
        "bias": float(np.mean(values.astype(np.float64) - truth)),
    }


def columns(rows: NDArray[np.float32], names: Sequence[str]) -> dict[str, Histogram]:
    """How each column of a table (n, columns) is distributed."""
    return {name: _by_quantiles(column) for name, column in zip(names, rows.T, strict=True)}


def images(tensors: NDArray[np.float32]) -> dict[str, Histogram]:
    """How images as tensors (n, …) from 0 to 1 are distributed: their brightness, and how much of them is bright."""
    rows = tensors.reshape(len(tensors), -1)
    return {
        "mean_intensity": _by_quantiles(rows.mean(axis=1)),
        "ink_share": _by_quantiles((rows > _INK).mean(axis=1)),
    }


def reference(inputs: Mapping[str, Histogram], outputs: NDArray[Any], labels: Sequence[str]) -> Reference:
    """`inputs` with the distribution of predicted labels and the confidence in them, if outputs are (n, classes)."""
    if not labels:
        return Reference(instances=len(outputs), inputs=inputs)
    predicted = np.bincount(outputs.argmax(axis=1), minlength=len(labels))
    counts, edges = np.histogram(outputs.max(axis=1).astype(np.float64), bins=_BINS, range=(0, 1))
    return Reference(
        instances=len(outputs),
        inputs=inputs,
        predictions={label: int(count) for label, count in zip(labels, predicted, strict=True)},
        confidence=_histogram(counts, edges),
    )


def _by_quantiles(values: NDArray[Any]) -> Histogram:
    """Bins that hold about the same number each: there, drift shows best."""
    edges = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, _BINS + 1)))
    return _histogram(*np.histogram(values, bins=edges if edges.size > 1 else 1))


def _histogram(counts: NDArray[Any], edges: NDArray[Any]) -> Histogram:
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
