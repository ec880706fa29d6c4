"""A classifier's figures, by tallies of its labelled predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.feedback.labels import CONFIDENCE_BINS
from gateway.quality.intervals import Figure, average, bootstrap, f1, mean, proportion


@dataclass(frozen=True, slots=True)
class Cell:
    """Labelled predictions of one class, with one true class, in one bin of confidence: how many, and their sums."""

    predicted: int
    actual: int
    bin: int
    n: int
    confidence: float
    log_loss: float
    log_loss_squared: float
    brier: float
    brier_squared: float
    delay: float


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """One class; what nothing is known of is None."""

    index: int
    actual: int
    """Labels of the class."""
    predicted: int
    """Labelled predictions of the class."""
    precision: Figure | None
    recall: Figure | None
    f1: Figure


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labelled predictions in one bin of confidence."""

    n: int
    right: int
    confidence: float
    """The mean; 0 if there are none."""


@dataclass(frozen=True, slots=True)
class ClassificationQuality:
    """How good a classifier is."""

    accuracy: Figure
    macro_f1: Figure
    """The mean over the classes that were predicted or told."""
    log_loss: Figure
    """Where an answer is wrong, the least that it can be: see `gateway.feedback.labels.log_loss`."""
    brier: Figure
    """Of the answer given: the mean squared difference of its confidence and whether it was right."""
    calibration_error: Figure
    """The expected calibration error of the confidence, from 0 to 1."""
    classes: tuple[ClassQuality, ...]
    """Those that were predicted or told."""
    confusion: dict[tuple[int, int], int]
    """Numbers above 0 by true and predicted class."""
    calibration: tuple[CalibrationBin, ...]


def of(cells: Sequence[Cell]) -> ClassificationQuality | None:
    """The figures; None if there are no labels."""
    cells = [cell for cell in cells if cell.n > 0]
    if not cells:
        return None
    confusion: dict[tuple[int, int], int] = {}
    for cell in cells:
        place = (cell.actual, cell.predicted)
        confusion[place] = confusion.get(place, 0) + cell.n
    n = sum(cell.n for cell in cells)
    bins, classes = calibration(cells), _classes(confusion)
    return ClassificationQuality(
        accuracy=proportion(sum(count for (actual, predicted), count in confusion.items() if actual == predicted), n),
        macro_f1=average([each.f1 for each in classes], _correlation(classes, confusion)),
        log_loss=mean(n, sum(cell.log_loss for cell in cells), sum(cell.log_loss_squared for cell in cells), least=0),
        brier=mean(n, sum(cell.brier for cell in cells), sum(cell.brier_squared for cell in cells), least=0),
        calibration_error=_calibration_error(bins),
        classes=classes,
        confusion=dict(sorted(confusion.items())),
        calibration=bins,
    )


def calibration(cells: Sequence[Cell]) -> tuple[CalibrationBin, ...]:
    """The bins of confidence."""
    n, right = [0] * CONFIDENCE_BINS, [0] * CONFIDENCE_BINS
    confidence = [0.0] * CONFIDENCE_BINS
    for cell in cells:
        n[cell.bin] += cell.n
        right[cell.bin] += cell.n if cell.predicted == cell.actual else 0
        confidence[cell.bin] += cell.confidence
    return tuple(
        CalibrationBin(count, hits, total / count if count else 0.0)
        for count, hits, total in zip(n, right, confidence, strict=True)
    )


def _classes(confusion: dict[tuple[int, int], int]) -> tuple[ClassQuality, ...]:
    found = []
    for index in sorted({index for pair in confusion for index in pair}):
        hits = confusion.get((index, index), 0)
        actual = sum(count for (truth, _), count in confusion.items() if truth == index)
        predicted = sum(count for (_, answer), count in confusion.items() if answer == index)
        found.append(
            ClassQuality(
                index,
                actual,
                predicted,
                precision=proportion(hits, predicted) if predicted else None,
                recall=proportion(hits, actual) if actual else None,
                f1=f1(hits, actual + predicted - 2 * hits),
            )
        )
    return tuple(found)


def _correlation(classes: Sequence[ClassQuality], confusion: Mapping[tuple[int, int], int]) -> NDArray[np.float64]:
    """Of the classes' F1 scores, which share each wrong answer (the delta method, as in Takahashi et al. 2022)."""
    places = {each.index: place for place, each in enumerate(classes)}
    covariance = np.zeros((len(classes), len(classes)))
    for pair, count in confusion.items():
        concerned = sorted({places[index] for index in pair})
        hit = len(concerned) == 1
        # What one more answer of this kind does to the score of each class that it concerns.
        slopes = [
            ((2 if hit else 0) - each.f1.value * (2 if hit else 1)) / (each.actual + each.predicted)
            for each in (classes[place] for place in concerned)
        ]
        covariance[np.ix_(concerned, concerned)] += count * np.outer(slopes, slopes)
    deviations = np.sqrt(np.diag(covariance))
    scale = np.outer(deviations, deviations)
    correlation: NDArray[np.float64] = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _calibration_error(bins: Sequence[CalibrationBin]) -> Figure:
    """Guo et al. 2017, equation 3. With few labels it is too high, which the basic bootstrap takes into account."""
    confidence = np.array([each.confidence for each in bins])

    def statistic(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        right, wrong = counts[:, : len(bins)], counts[:, len(bins) :]
        gaps = np.abs(right - (right + wrong) * confidence)
        errors: NDArray[np.float64] = gaps.sum(axis=1) / counts.sum(axis=1)
        return errors

    counts = [each.right for each in bins] + [each.n - each.right for each in bins]
    return bootstrap(np.array(counts), statistic)
