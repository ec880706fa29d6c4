"""Tests of whether two samples, counted in the same bins, are of one distribution.

scipy has them too, and is several times the gateway's size; the tests hold these against it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

# Below it a count is too small for the distribution of chi-squared to hold (Cochran 1954).
_LEAST_EXPECTED = 5.0


def chi_squared(first: Counts, second: Counts, *, ordered: bool) -> float:
    """The p-value of Pearson's test of homogeneity: that both are samples, and of the same distribution.

    Bins with less than 5 expected are pooled: with their neighbours if they are `ordered`, else with other rare ones.
    1 where that leaves a single bin.
    """
    sizes = np.array([first.sum(), second.sum()], np.float64)
    if not sizes.all():
        return 1.0
    counts = np.stack([first, second])
    if not ordered:
        counts = counts[:, np.argsort(counts.sum(axis=0), kind="stable")]
    pooled = _pooled(counts, sizes.min() / sizes.sum())
    totals = pooled.sum(axis=0)
    expected = np.outer(sizes, totals) / sizes.sum()
    statistic = float(((pooled - expected) ** 2 / expected).sum())
    return chi_squared_sf(statistic, totals.size - 1)


def kolmogorov_smirnov(first: Counts, second: Counts) -> float:
    """The p-value of the two-sample test of Kolmogorov and Smirnov, asymptotic, of bins in order.

    The distributions are compared at the edges alone. Between them they may be further apart, so the p-value is too
    large if anything: there are fewer false alarms than it says, and drift within a single bin is not seen.
    """
    sizes = float(first.sum()), float(second.sum())
    if not all(sizes):
        return 1.0
    distance = float(np.abs(first.cumsum() / sizes[0] - second.cumsum() / sizes[1]).max())
    return kolmogorov_sf(distance * math.sqrt(sizes[0] * sizes[1] / (sizes[0] + sizes[1])))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for there being several: the chance of a single false one among them stays at the level.

    Holm's (1979), because it asks nothing of how the tests hang together: features of one image do, and the two tests
    of one feature. An alarm is raised by any feature, so the chance of one false among them is the one to bound.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def chi_squared_sf(statistic: float, freedom: int) -> float:
    """The chance that chi-squared with `freedom` degrees of freedom exceeds `statistic`; 1 with none."""
    half = statistic / 2
    if freedom < 1 or half <= 0:
        return 1.0
    # Q(a, x) in steps of 1 from Q(1/2, x) = erfc(√x) or Q(0, x) = 0, for freedom is whole.
    start, total = (0.5, math.erfc(math.sqrt(half))) if freedom % 2 else (0.0, 0.0)
    steps = (start + step for step in range(freedom // 2))
    return min(1.0, total + math.fsum(math.exp(a * math.log(half) - half - math.lgamma(a + 1)) for a in steps))


def kolmogorov_sf(scaled: float) -> float:
    """The chance that Kolmogorov's distribution exceeds `scaled`, a distance times the root of the sample's size."""
    if scaled < 0.2:  # noqa: PLR2004  # from there on it differs from 1 by less than 1e-12, and the series converges
        return 1.0
    terms = ((-1) ** (number - 1) * math.exp(-2 * (number * scaled) ** 2) for number in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def _pooled(counts: NDArray[Any], share: float) -> NDArray[np.int64]:
    """Neighbouring bins of counts, (2, bins), joined until the smaller sample, `share` of both, expects enough."""
    starts = _starts(counts.sum(axis=0) * share)
    return np.add.reduceat(counts, starts, axis=1)


def _starts(expected: Iterable[float]) -> list[int]:
    """Where groups of bins begin of which each expects enough; what is left over joins the last."""
    starts, gathered = [0], 0.0
    for place, value in enumerate(expected):
        if gathered >= _LEAST_EXPECTED:
            gathered = 0.0
            starts.append(place)
        gathered += value
    if gathered < _LEAST_EXPECTED and len(starts) > 1:
        starts.pop()
    return starts
