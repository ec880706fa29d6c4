"""gateway.drift.statistics, held against scipy"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import special, stats

from gateway.drift import statistics
from serving.reference import by_quantiles, counted

COUNTS = npst.arrays(np.int64, st.shared(st.integers(1, 12), key="bins"), elements=st.integers(0, 2000))


@given(st.floats(0, 2000), st.integers(1, 300))
def test_chi_squared_sf_is_scipys(statistic: float, freedom: int) -> None:
    """The tail is scipy's, far out too."""
    expected = stats.chi2.sf(statistic, freedom)
    assert statistics.chi_squared_sf(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.floats(0, 30))
def test_kolmogorov_sf_is_scipys(scaled: float) -> None:
    """The tail is scipy's."""
    assert statistics.kolmogorov_sf(scaled) == pytest.approx(special.kolmogorov(scaled), rel=1e-9, abs=1e-11)


@given(
    npst.arrays(np.int64, 7, elements=st.integers(12, 2000)), npst.arrays(np.int64, 7, elements=st.integers(12, 2000))
)
def test_full_bins_are_tested_as_by_scipy(first: np.ndarray, second: np.ndarray) -> None:
    """Where no bin is sparse the p-value is that of scipy's contingency table."""
    sparse = (first + second) * min(first.sum(), second.sum()) / (first.sum() + second.sum()) < 5
    if not sparse.any():
        expected = stats.chi2_contingency(np.stack([first, second]), correction=False).pvalue
        assert statistics.chi_squared(first, second, ordered=True) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_sparse_bins_are_pooled() -> None:
    """Bins in order join their neighbours, classes other rare ones: then it is scipy's test of what they make."""
    first, second = np.array([1, 100, 2, 90, 3]), np.array([2, 40, 4, 60, 1])
    ordered = stats.chi2_contingency([[101, 92, 3], [42, 64, 1]], correction=False)
    rare = stats.chi2_contingency([[106, 90], [47, 60]], correction=False)
    # Expected of the smaller sample: 1.1, 50, 2.1, 54, 1.4; the last, too few, join the bin before.
    assert statistics.chi_squared(first, second, ordered=True) == pytest.approx(
        stats.chi2_contingency([[101, 95], [42, 65]], correction=False).pvalue
    )
    assert statistics.chi_squared(first, second, ordered=False) != pytest.approx(ordered.pvalue)
    assert 0 < rare.pvalue < 1


@given(COUNTS, COUNTS)
def test_any_counts_have_p_values(first: np.ndarray, second: np.ndarray) -> None:
    """Empty samples and single bins too; two that are alike are not told apart."""
    for p_value in (
        statistics.chi_squared(first, second, ordered=True),
        statistics.chi_squared(first, second, ordered=False),
        statistics.kolmogorov_smirnov(first, second),
    ):
        assert 0 <= p_value <= 1
    assert statistics.kolmogorov_smirnov(first, first) == 1
    assert statistics.chi_squared(first, first, ordered=True) == 1


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 1.0])
def test_binning_only_makes_kolmogorov_smirnov_careful(shift: float) -> None:
    """On the bins the p-value is not below scipy's on the values themselves, and near it where drift is plain."""
    rng = np.random.default_rng(3)
    reference, values = rng.normal(size=1000), rng.normal(shift, size=250)
    histogram = by_quantiles(reference)
    found = statistics.kolmogorov_smirnov(np.array(histogram.counts), counted(values, histogram))
    exact = stats.ks_2samp(reference, values, method="asymp").pvalue
    # scipy rounds the size that it puts in.
    assert found >= exact * 0.9
    assert shift < 0.3 or found < 0.01


def test_holm_is_the_textbooks() -> None:
    """The smallest times their number, the next times one fewer; none is below a smaller one's, or above 1."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1, 1]
    assert statistics.holm([]) == []
