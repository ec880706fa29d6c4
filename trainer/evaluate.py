"""Figures on the held-out images, and the distributions that drift is measured against."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, precision_recall_fscore_support

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
        "instances": float(truth.size),
        "accuracy": float((predicted == truth).mean()),
        "log_loss": float(log_loss(truth, exact, labels=classes)),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        **{f"recall_{label}": float(value) for label, value in zip(labels, recall, strict=True)},
    }


def reference(tensors: NDArray[np.float32], probabilities: NDArray[Any], labels: Sequence[str]) -> Reference:
    """How inputs (n, …) from 0 to 1, predicted labels and the confidence in them, (n, classes), are distributed."""
    rows = tensors.reshape(len(tensors), -1)
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=len(labels))
    confidence = np.histogram(probabilities.max(axis=1).astype(np.float64), bins=_BINS, range=(0, 1))
    return Reference(
        instances=len(rows),
        inputs={
            "mean_intensity": _histogram(*_by_quantiles(rows.mean(axis=1))),
            "ink_share": _histogram(*_by_quantiles((rows > _INK).mean(axis=1))),
        },
        predictions={label: int(count) for label, count in zip(labels, predicted, strict=True)},
        confidence=_histogram(*confidence),
    )


def _by_quantiles(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Counts and edges of bins that hold about the same number each: there, drift shows best."""
    edges = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, _BINS + 1)))
    return np.histogram(values, bins=edges if edges.size > 1 else 1)


def _histogram(counts: NDArray[Any], edges: NDArray[Any]) -> Histogram:
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
