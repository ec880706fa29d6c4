"""loadtest.capacity"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import capacity
from loadtest.capacity import Platform, Slo
from loadtest.locust_process import HERE
from tests.unit.loadtest.recordings import recording


@given(st.floats(1.2, 1e5))
def test_search(limit: float) -> None:
    """The rate that is found holds, and a tenth more does not."""
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = capacity.highest(holds)
    assert found <= limit <= max(found * 1.1, 1.1)
    assert len(asked) < 30


def test_nothing_holds() -> None:
    """The search ends."""
    assert capacity.highest(lambda _: False) == 0.0


def test_slo() -> None:
    """A promise is kept by latency, errors and keeping up, all of them."""
    slo = capacity.parse_slo("p90=50ms", 0.0)
    assert slo == Slo(0.9, 0.05, 0.0)
    fast = [(second, "x", "OK", False, 0.01) for second in range(4) for _ in range(10)]
    assert slo.holds(recording(*fast), rate=10)
    assert not slo.holds(recording(*fast), rate=12)
    assert not slo.holds(recording(*fast, (1, "x", "UNAVAILABLE", True, 0.01)), rate=10)
    assert not slo.holds(recording(*fast, *[(1, "x", "OK", False, 0.06)] * 5), rate=10)
    for text in ("50ms", "p99=50", "p100=1s", "p99<50ms"):
        with pytest.raises(ValueError, match="expected a quantile and a time"):
            capacity.parse_slo(text, 0.0)


def test_costs() -> None:
    """Replicas are whole and never too few; costs are hours times prices."""
    assert capacity.replicas(1000, 400, 0.3, 2) == 4
    assert capacity.replicas(1, 400, 0.3, 2) == 2
    platform = Platform(source="", vcpu_hour=0.1, gib_hour=0.01, fixed_month=20)
    assert capacity.monthly(platform, 3, vcpus=2, gib=4) == pytest.approx(20 + 730 * 3 * (0.2 + 0.04))
    date, platforms = capacity.prices(HERE / "prices.yaml")
    assert date >= "2026"
    assert set(platforms) == {"cloud-run", "fargate"}
