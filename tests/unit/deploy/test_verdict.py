"""What is significantly worse, and how often chance is taken for it."""

import random

import pytest
from scipy import stats

from deploy.verdict import SIGNIFICANCE, Calls, chance, worse


@pytest.mark.parametrize("figures", [(3, 100, 1, 900), (30, 1000, 0, 1000), (0, 50, 5, 50), (200, 5000, 1500, 45000)])
def test_chance(figures: tuple[int, int, int, int]) -> None:
    """It is Fisher's exact test, one-sided."""
    hits, number, other, other_number = figures
    table = [[hits, number - hits], [other, other_number - other]]
    assert chance(*figures) == pytest.approx(stats.fisher_exact(table, "greater").pvalue, rel=1e-6)


def test_equal_revisions_are_seldom_told_apart() -> None:
    """Of 200 pairs with the same faults and latencies no more are called worse than the significance allows."""
    draw = random.Random(7)

    def calls(number: int) -> Calls:
        return Calls(
            [draw.lognormvariate(2, 0.5) for _ in range(number)], sum(draw.random() < 0.01 for _ in range(number))
        )

    assert sum(bool(worse(calls(200), calls(1800))) for _ in range(200)) <= 200 * 2 * SIGNIFICANCE + 3


def test_too_few_or_too_little() -> None:
    """No calls say nothing; a real rise that nobody would notice is no reason to go back."""
    many = Calls([10.0] * 40_000, 0)
    assert not worse(Calls([], 0), many)
    assert not worse(many, Calls([], 0))
    assert not worse(Calls([10.0] * 40_000, 30), many)
    assert worse(Calls([10.0] * 40_000, 60), many) == ["faults: 60 of 40000 calls, before 0 of 40000"]
