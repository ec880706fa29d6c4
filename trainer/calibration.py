"""Whether a confidence means what it says: of answers given with 80 %, 80 % should be right."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Answers by their confidence, in bins of equal width from 0 to 1; an empty bin has zeros."""

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    """Mean of each bin."""
    accuracy: NDArray[np.float64]
    """Share of each bin that is right."""

    @property
    def error(self) -> float:
        """The expected calibration error: how far confidence and accuracy are apart, on an average over the answers.

        Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015);
        with 15 bins as in Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017).
        """
        return float(np.abs(self.accuracy - self.confidence) @ self.counts / self.counts.sum())


def reliability(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> Reliability:
    """The answers that probabilities (n, classes) give, the most probable class each, for the true classes (n,)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    # A bin holds its upper edge; rounding may put a confidence a little above 1.
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, weights=values, minlength=BINS) for values in (confidence, right))
    return Reliability(counts, *(each / np.maximum(counts, 1) for each in sums))
