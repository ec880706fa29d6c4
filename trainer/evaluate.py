"""Figures on the held-out examples, and their distributions."""

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

from serving.contract import Reference
from serving.reference import by_quantiles
from trainer.calibration import reliability

MEASURES = ("precision", "recall", "f1")
# Of a confidence.
_DIGITS = 4


def quality(outputs: NDArray[Any], truth: NDArray[Any], labels: Sequence[str]) -> dict[str, float]:
    """What `figures` gives for outputs (n, classes), or `errors` for outputs (n, 1) where there are no labels."""
    return figures(outputs, truth, labels) if labels else errors(outputs[:, 0], truth)


def names(labels: Sequence[str]) -> list[str]:
    """Of all figures that there may be of a model of these classes, or of values where there are none."""
    count = len(labels)
    return list(quality(np.eye(count) if labels else np.zeros((2, 1)), np.arange(count or 2), labels))


def overall(found: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """Without those of single classes."""
    by_class = {f"{measure}_{label}" for measure in MEASURES for label in labels}
    return {name: value for name, value in found.items() if name not in by_class}


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
    options = {"labels": np.arange(len(labels)), "zero_division": 0.0}
    for average in ("macro", "micro", "weighted"):
        values = precision_recall_fscore_support(truth, predicted, average=average, **options)
        found |= {f"{average}_{name}": float(value) for name, value in zip(MEASURES, values, strict=False)}
    by_class = precision_recall_fscore_support(truth, predicted, **options)
    for name, values in zip(MEASURES, by_class, strict=False):
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


def reference(features: Mapping[str, NDArray[Any]], outputs: NDArray[Any], labels: Sequence[str]) -> Reference:
    """How `features`, (n,) each, are distributed, and predictions: of outputs (n, classes) the classes and their
    confidence, of outputs (n, 1) without labels the values.
    """
    inputs = {name: by_quantiles(values) for name, values in features.items()}
    if not labels:
        return Reference(instances=len(outputs), inputs=inputs, values=by_quantiles(outputs[:, 0]))
    predicted = np.bincount(outputs.argmax(axis=1), minlength=len(labels))
    # Servers differ in the last digits, and many confidences in nothing else.
    confidence = by_quantiles(outputs.max(axis=1).round(_DIGITS))
    return Reference(
        instances=len(outputs),
        inputs=inputs,
        predictions={label: int(count) for label, count in zip(labels, predicted, strict=True)},
        confidence=confidence,
    )
