"""Figures on the held-out examples, and the distributions that drift is measured against."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    root_mean_squared_error,
)

from serving.contract import Histogram, Reference

_BINS = 10
_INK = 0.5


def figures(probabilities: NDArray[Any], truth: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float]:
    """Quality by name, of probabilities (n, classes) for the true classes (n,)."""
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(labels))
    # Rounded to float32, they add up to 1 less exactly than log_loss demands.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0.0)
    return {
        "accuracy": float((predicted == truth).mean()),
        "instances": float(truth.size),
        "log_loss": float(log_loss(truth, exact, labels=classes)),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        **{f"recall_{label}": float(value) for label, value in zip(labels, recall, strict=True)},
    }


def errors(values: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Quality by name, of predicted values (n,) for the true ones (n,): errors in the target's unit, and R²."""
    return {
        "rmse": float(root_mean_squared_error(truth, values)),
        "instances": float(truth.size),
        "mae": float(mean_absolute_error(truth, values)),
        "r2": float(r2_score(truth, values)),
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
