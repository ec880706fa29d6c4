"""Accuracy where labels are missing: confidence-based performance estimation (CBPE).

After NannyML's CBPE (nannyml.readthedocs.io, "Estimation of Performance"): were confidence calibrated, its mean would
be the accuracy to expect. It is calibrated on the labels that there are, by histogram binning (Zadrozny and Elkan
2001), drawn towards the confidence itself where there are few. The inputs may change meanwhile, but not what they mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.quality.classification import CalibrationBin
from gateway.quality.intervals import Figure

# How many labels in a bin weigh as much as the confidence by itself.
_PRIOR = 10
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in one bin of confidence, labelled or not."""

    n: int = 0
    confidence: float = 0.0
    """The sum."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The accuracy to expect of the predictions without labels."""

    accuracy: Figure
    predictions: int
    """Those without labels."""
    labels: int
    """Those that the confidence is calibrated on."""


def accuracy(
    predictions: Sequence[Predictions], labelled: Sequence[CalibrationBin], reference: Sequence[CalibrationBin]
) -> Estimate | None:
    """The estimate, for `predictions` less those `labelled`, calibrated on `reference`; None if none is unlabelled."""
    total = expected = variance = 0.0
    for place, (made, known, seen) in enumerate(zip(predictions, labelled, reference, strict=True)):
        n = made.n - known.n
        if n <= 0:
            continue
        # Counted in two places, and so not to the last digit.
        low, high = place / len(predictions), (place + 1) / len(predictions)
        confidence = min(max((made.confidence - known.n * known.confidence) / n, low), high)
        rate = (seen.right + _PRIOR * confidence) / (seen.n + _PRIOR)
        total += n
        expected += n * rate
        # Of the answers themselves, and of the rate that we hold them to have.
        variance += rate * (1 - rate) * (n + n**2 / (seen.n + _PRIOR))
    if not total:
        return None
    value, half = expected / total, _Z * math.sqrt(variance) / total
    figure = Figure(value, max(value - half, 0.0), min(value + half, 1.0))
    return Estimate(figure, int(total), sum(each.n for each in reference))
