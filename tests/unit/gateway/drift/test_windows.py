"""gateway.drift.windows"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drift.windows import SlidingCounts


def test_a_window_forgets_by_steps() -> None:
    """What was added counts for 29 to 30 thirtieths of the window, and then no more."""
    window = SlidingCounts(1, 300)
    window.add(np.array([5]), 1000.0)
    window.add(np.array([2]), 1200.0)
    assert window.total(1000.0).tolist() == [7]
    assert window.total(1289.0).tolist() == [7]
    assert window.total(1300.0).tolist() == [2]
    assert window.total(99_999.0).tolist() == [0]


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9)), max_size=60), st.sampled_from([60, 300]))
def test_a_window_holds_what_is_young_enough(steps: list[tuple[float, int]], seconds: int) -> None:
    """Whatever the pace, the sum lies between that of the last 29/30 of the window and that of all of it."""
    window, now, added = SlidingCounts(1, seconds), 7.0, []
    for pause, count in steps:
        now += pause
        added.append((now, count))
        window.add(np.array([count]), now)
    total = window.total(now).item()
    young = sum(count for when, count in added if when > now - seconds * 29 / 30)
    assert young <= total <= sum(count for when, count in added if when >= now - seconds)


def test_windows_are_merged_by_adding() -> None:
    """Two replicas' counts add up to those of one that saw everything."""
    rng = np.random.default_rng(0)
    both, *halves = (SlidingCounts(3, 60) for _ in range(3))
    for place, now in enumerate(np.arange(0, 100, 3.0)):
        counts = rng.integers(0, 9, 3)
        both.add(counts, now)
        halves[place % 2].add(counts, now)
    np.testing.assert_array_equal(both.total(100.0), halves[0].total(100.0) + halves[1].total(100.0))
    assert both.total(100.0).any() == pytest.approx(True)
