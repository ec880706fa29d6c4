"""Two models on the same examples: is one better, or is it chance?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

_RESAMPLES = 9999
# Resamples at a time: bounds the memory for many examples.
_BATCH = 100


class PairedTest(BaseModel):
    """What a test of a difference says, always of the second model less the first."""

    model_config = ConfigDict(frozen=True)

    name: str
    figure: str
    """What is compared, by its name in the evaluation."""
    difference: float
    p_value: float
    """Two-sided: how likely a difference at least as large is, either way, if the models are equally good."""
    worse: bool
    """Whether the difference, large or small, is against the second."""
    details: Mapping[str, float]
    """What the test rests on, by name."""

    def __str__(self) -> str:
        details = ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in self.details.items())
        return f"{self.name}: {self.figure} {self.difference:+.4f}, p = {self.p_value:.4g} ({details})"


def compare(
    first: NDArray[Any], second: NDArray[Any], truth: NDArray[Any], *, labelled: bool, alpha: float, seed: int
) -> PairedTest:
    """The test that fits the outputs of two models for the same examples with the targets `truth`, (n,).

    `labelled` outputs are (n, classes), of any number of classes each, the others (n, 1); `alpha` and `seed` are the
    bootstrap's.
    """
    if labelled:
        return mcnemar(first.argmax(axis=1) == truth, second.argmax(axis=1) == truth)
    return bootstrap(first[:, 0] - truth, second[:, 0] - truth, alpha, seed)


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """McNemar's exact test of which examples, (n,), each of two classifiers has right.

    It rests on the examples that exactly one has right: of equally good models, each has half of those, by the binomial
    distribution (McNemar, "Note on the sampling error of the difference between correlated proportions", 1947).
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return PairedTest(
        name="exact McNemar",
        figure="accuracy",
        difference=(only_second - only_first) / len(first),
        p_value=float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0,
        worse=only_second < only_first,
        details={"only_first_right": only_first, "only_second_right": only_second},
    )


def bootstrap(first: NDArray[Any], second: NDArray[Any], alpha: float, seed: int) -> PairedTest:
    """The paired bootstrap of the difference of two RMSE, from the errors, (n,), of two models on the same examples.

    Examples are drawn with replacement, both models' errors together; the interval is that between the percentiles
    which leave `alpha` outside, and the p-value the smallest alpha whose interval leaves out 0.
    """
    squares = tuple(np.square(errors, dtype=np.float64) for errors in (first, second))

    def difference(one: NDArray[Any], other: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        found: NDArray[Any] = np.sqrt(other.mean(axis=axis)) - np.sqrt(one.mean(axis=axis))
        return found

    result = stats.bootstrap(
        squares,
        difference,
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=1 - alpha,
        # Others have no answer where the models agree on every example.
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    drawn = result.bootstrap_distribution
    tail = 1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    observed = float(difference(*squares))
    return PairedTest(
        name="paired bootstrap",
        figure="rmse",
        difference=observed,
        p_value=min(1.0, 2 * tail / (_RESAMPLES + 1)),
        worse=observed > 0,
        details={"low": float(result.confidence_interval.low), "high": float(result.confidence_interval.high)},
    )
