"""Tests that may be looked at as often as one likes: e-processes for rates of bad outcomes.

An e-process starts at 1 and, while its hypothesis holds, is expected never to grow; so it ever reaches 1/α with a
probability of at most α (Ville's inequality), at whatever time one looks. Outcomes come in blocks, each a number of bad
ones among a number of all for stable and for the candidate in the same stretch of time: rates may drift from block to
block, and shares may change.

Two rates are compared as in Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests that allow
for optional stopping" (J. Stat. Plan. Inference, 2024). A block's factor is its likelihood under rates s for stable and
c > s for the candidate over that under their mean m = (nₛs + n꜀c)/(nₛ + n꜀) for both, where s and c were chosen before
the block was seen. Were both rates p, it is expected to be f(s)^nₛ f(c)^n꜀ with
f(x) = x·p/m + (1 - x)·(1 - p)/(1 - m), linear in x and therefore at most f(m)^(nₛ + n꜀) = 1; a candidate that is better
only makes it smaller. Nothing is approximated, so it holds for three failures in a million as for a coin.

How much worse the candidate might be is not known: several odds ratios each have a process, and their mean is one too.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ODDS_RATIOS = np.array([1.15, 1.3, 1.5, 1.8, 2.5, 4.0, 10.0, 40.0])
# What is thought of stable's rate before anything is seen: 1 bad one in 20.
_PRIOR_BAD, _PRIOR_TOTAL = 1.0, 20.0

Floats = NDArray[np.float64]


class WorseThanStable:
    """Evidence against "the candidate's rate is not above stable's". `shape` is that of many tests side by side."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self._log = np.zeros((*shape, len(ODDS_RATIOS)))
        self._bad = np.full(shape, _PRIOR_BAD)
        self._total = np.full(shape, _PRIOR_TOTAL)

    def add(
        self, stable_bad: ArrayLike, stable_total: ArrayLike, candidate_bad: ArrayLike, candidate_total: ArrayLike
    ) -> None:
        """Takes a block in: outcomes of the same stretch of time, each an array of `shape`."""
        bad_s, all_s, bad_c, all_c = (
            np.asarray(counts, np.float64)[..., np.newaxis]
            for counts in (stable_bad, stable_total, candidate_bad, candidate_total)
        )
        stable = (self._bad / self._total)[..., np.newaxis]
        candidate = _worse(stable)
        # Without outcomes of either the mean is the other's own rate, and the block says nothing.
        mean = (all_s * stable + all_c * candidate) / np.maximum(all_s + all_c, 1)
        mean = np.where(all_s + all_c > 0, mean, stable)
        self._log += (
            bad_s * np.log(stable / mean)
            + (all_s - bad_s) * np.log((1 - stable) / (1 - mean))
            + bad_c * np.log(candidate / mean)
            + (all_c - bad_c) * np.log((1 - candidate) / (1 - mean))
        )
        self._bad = self._bad + np.asarray(stable_bad, np.float64)
        self._total = self._total + np.asarray(stable_total, np.float64)

    @property
    def log_evidence(self) -> Any:
        """The natural logarithm of the evidence, of `shape`; 0 says nothing either way."""
        return np.logaddexp.reduce(self._log, axis=-1) - np.log(len(ODDS_RATIOS))


class AboveRate:
    """Evidence against "the candidate's rate is at most `rate`", which is above 0 and below 1."""

    def __init__(self, rate: float, shape: tuple[int, ...] = ()) -> None:
        self._rate = rate
        self._log = np.zeros((*shape, len(ODDS_RATIOS)))

    def add(self, bad: ArrayLike, total: ArrayLike) -> None:
        """Takes a block in."""
        bad_, total_ = (np.asarray(counts, np.float64)[..., np.newaxis] for counts in (bad, total))
        worse = _worse(np.array(self._rate))
        self._log += bad_ * np.log(worse / self._rate) + (total_ - bad_) * np.log((1 - worse) / (1 - self._rate))

    @property
    def log_evidence(self) -> Any:
        """The natural logarithm of the evidence, of `shape`."""
        return np.logaddexp.reduce(self._log, axis=-1) - np.log(len(ODDS_RATIOS))


def _worse(rate: Floats) -> Floats:
    odds: Floats = ODDS_RATIOS * rate / (1 - rate)
    return odds / (1 + odds)
