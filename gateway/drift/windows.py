"""Counts over a sliding window of time."""

import numpy as np

from gateway.drift.statistics import Counts

# A window moves on in steps of this part of it.
_BUCKETS = 30


class SlidingCounts:
    """The sum of what was added in the last `seconds`, forgotten in steps of a thirtieth of them."""

    def __init__(self, size: int, seconds: float) -> None:
        self.seconds = seconds
        self._width = seconds / _BUCKETS
        self._buckets = np.zeros((_BUCKETS, size), np.int64)
        self._steps = np.full(_BUCKETS, -_BUCKETS, np.int64)

    def add(self, counts: Counts, now: float) -> None:
        """Adds counts, (size,), at `now`, in seconds of a clock that does not go back."""
        step = int(now / self._width)
        place = step % _BUCKETS
        if self._steps[place] != step:
            self._steps[place] = step
            self._buckets[place] = 0
        self._buckets[place] += counts

    def total(self, now: float) -> Counts:
        """The counts in the window that ends at `now`."""
        total: Counts = self._buckets[self._steps > int(now / self._width) - _BUCKETS].sum(axis=0)
        return total
