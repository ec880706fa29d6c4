"""gateway.quality.intervals, against scipy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from gateway.quality import intervals
from gateway.quality.intervals import Figure


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (9_120, 10_000)])
def test_proportion(hits: int, n: int) -> None:
    """The interval is Wilson's."""
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    figure = intervals.proportion(hits, n)
    assert figure.value == hits / n
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 100, 5000])
def test_mean(n: int) -> None:
    """The interval is Student's, to within 1% of its width."""
    values = np.random.default_rng(n).exponential(3, n)
    figure = intervals.mean(n, values.sum(), (values**2).sum())
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert figure.value == pytest.approx(values.mean())
    assert (figure.low, figure.high) == pytest.approx((low, high), abs=0.01 * (high - low))


def test_too_little_to_tell() -> None:
    """One value has no interval, and values that are all the same have one of no width."""
    assert intervals.mean(1, 3, 9) == Figure(3)
    assert intervals.root(intervals.mean(1, 9, 81)) == Figure(3)
    assert intervals.bootstrap(np.array([1, 0]), lambda counts: counts[:, 0]) == Figure(1)
    assert intervals.mean(4, 12, 36) == Figure(3, 3, 3)


def test_f1_covers() -> None:
    """Of samples of a known F1 score, 95% have it in the interval, give or take the chance of 600 samples."""
    rng = np.random.default_rng(7)
    true_positive, wrong = 0.3, 0.1
    f1 = 2 * true_positive / (2 * true_positive + wrong)
    samples = rng.multinomial(200, (true_positive, wrong, 1 - true_positive - wrong), size=600)
    found = [intervals.f1(hits, misses) for hits, misses, _ in samples]
    covered = sum(figure.low <= f1 <= figure.high for figure in found if figure.low is not None and figure.high)
    assert 0.925 <= covered / 600 <= 0.98


def test_bootstrap_covers() -> None:
    """Of samples of a known proportion, about 95% have it in the bootstrap's interval; equal counts give equal ones."""
    rng = np.random.default_rng(3)
    samples = rng.binomial(300, 0.8, size=300)
    found = [
        intervals.bootstrap(np.array([hits, 300 - hits]), lambda counts: counts[:, 0] / counts.sum(axis=1))
        for hits in samples
    ]
    covered = sum(figure.low <= 0.8 <= figure.high for figure in found if figure.low is not None and figure.high)
    assert 0.91 <= covered / 300 <= 0.985
    assert intervals.bootstrap(np.array([3, 4]), lambda counts: counts[:, 0] / 7) == intervals.bootstrap(
        np.array([3, 4]), lambda counts: counts[:, 0] / 7
    )
