"""Figures with their 95% confidence intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The 97.5th percentile of the normal distribution.
_Z = 1.959963984540054
# Student's for 1 and 2 degrees of freedom, where the expansion below is too far off.
_T = {1: 12.706204736432095, 2: 4.302652729911275}
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and between what it is with 95% confidence; None if there is too little to tell."""

    value: float
    low: float | None = None
    high: float | None = None


def proportion(hits: float, n: float) -> Figure:
    """Hits of n > 0 tries, with Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001)."""
    share = hits / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Figure(share, max(centre - half, 0.0), min(centre + half, 1.0))


def f1(true_positives: float, wrong: float) -> Figure:
    """2 TP / (2 TP + wrong), `wrong` being false positives and negatives together.

    It is 2 J / (1 + J) of J = TP / (TP + wrong), and rises with J: Wilson's interval of J, a proportion, carries over.
    """
    jaccard = proportion(true_positives, true_positives + wrong)
    assert jaccard.low is not None and jaccard.high is not None  # noqa: PT018  # a proportion always has both
    return Figure(*(2 * bound / (1 + bound) for bound in (jaccard.value, jaccard.low, jaccard.high)))


def average(figures: Sequence[Figure], correlation: NDArray[np.float64]) -> Figure:
    """The mean of figures that all have an interval, with the correlation of each two (MOVER: Zou and Donner 2008)."""
    values, lows, highs = np.array([(each.value, each.low, each.high) for each in figures], np.float64).T
    below, above = (float(np.sqrt(max(gap @ correlation @ gap, 0.0))) for gap in (values - lows, highs - values))
    value = float(values.mean())
    return Figure(value, max(value - below / len(values), 0.0), min(value + above / len(values), 1.0))


def mean(n: float, total: float, squares: float, *, least: float = -math.inf) -> Figure:
    """The mean of n values by their sum and their squares' sum, with Student's interval; none is below `least`."""
    value = total / n
    if n < 2:  # noqa: PLR2004  # one value has no spread
        return Figure(value)
    variance = max(squares - n * value**2, 0.0) / (n - 1)
    half = _student(n - 1) * math.sqrt(variance / n)
    return Figure(value, max(value - half, least), value + half)


def root(figure: Figure) -> Figure:
    """The root of a figure that is not negative; the interval carries over, since the root rises."""
    if figure.low is None or figure.high is None:
        return Figure(math.sqrt(figure.value))
    return Figure(math.sqrt(figure.value), math.sqrt(max(figure.low, 0.0)), math.sqrt(figure.high))


def bootstrap(counts: NDArray[np.int64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Figure:
    """A statistic of cells' counts, (cells,), with the basic bootstrap interval (Davison and Hinkley 1997, 5.2).

    `statistic` takes counts (samples, cells) and gives (samples,), each from 0 to 1. The same counts give the same
    interval, so that replicas agree.
    """
    value = float(statistic(counts[None].astype(np.float64))[0])
    n = int(counts.sum())
    if n < 2:  # noqa: PLR2004  # resamples of one are all the same
        return Figure(value)
    samples = np.random.default_rng(0).multinomial(n, counts / n, size=_RESAMPLES)
    low, high = np.quantile(statistic(samples.astype(np.float64)), (0.025, 0.975))
    return Figure(value, float(np.clip(2 * value - high, 0, 1)), float(np.clip(2 * value - low, 0, 1)))


def _student(freedom: float) -> float:
    """The 97.5th percentile of Student's distribution (Abramowitz and Stegun 26.7.5); within 1% from 3 on."""
    z = _Z
    return _T.get(int(freedom)) or (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
