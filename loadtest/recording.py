"""What a run came to: quantiles, rates and errors out of a recording."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

# Latency buckets: each is 2% wider than the one below, the first ends at 10 µs.
_FIRST, _RATIO = 1e-5, 1.02


def bucket(seconds: float) -> int:
    """The number of the bucket that a latency falls into."""
    return max(0, math.ceil(math.log(max(seconds, _FIRST) / _FIRST, _RATIO)))


@dataclass(frozen=True)
class Recording:
    """Calls, one element of each array a number of equal ones."""

    second: NDArray[np.int64]
    """When they ended, from the run's first second on."""
    name: NDArray[np.str_]
    code: NDArray[np.str_]
    failed: NDArray[np.bool_]
    latency: NDArray[np.float64]
    """Seconds, the upper end of the bucket: 2% too high at most."""
    count: NDArray[np.int64]
    users: Mapping[int, int]
    """How many there were, by second."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """The recording that the recorder wrote; ValueError if there is no call in it."""
        content = json.loads(path.read_text("utf-8"))
        if not content["rows"]:
            raise ValueError(f"{path}: no call was recorded")
        second, name, code, failed, place, count = zip(*content["rows"], strict=True)
        start = min(second)
        return cls(
            np.array(second) - start,
            np.array(name),
            np.array(code),
            np.array(failed),
            _FIRST * _RATIO ** np.array(place, np.float64),
            np.array(count),
            {moment - start: users for moment, users in content["users"]},
        )

    def of(self, chosen: NDArray[np.bool_]) -> "Recording":
        """Only the `chosen` elements."""
        arrays = {each.name: getattr(self, each.name)[chosen] for each in fields(self) if each.name != "users"}
        return replace(self, **arrays)

    def after(self, seconds: int) -> "Recording":
        """Without the calls of the first `seconds`, in which connections are made and caches filled."""
        return self.of(self.second >= seconds)

    def called(self, name: str) -> "Recording":
        """Only the calls of a name; all for an empty one."""
        return self.of(self.name == name) if name else self

    @cached_property
    def calls(self) -> int:
        """How many there were."""
        return int(self.count.sum())

    @cached_property
    def failures(self) -> int:
        """How many of them failed."""
        return int(self.count[self.failed].sum())

    @cached_property
    def throughput(self) -> float:
        """Calls a second that did not fail; the first and the last second are not whole and do not count, if there are
        more.
        """
        if not self.calls:
            return 0.0
        first, last = int(self.second.min()), int(self.second.max())
        if last - first > 1:
            first, last = first + 1, last - 1
        counted = ~self.failed & (self.second >= first) & (self.second <= last)
        return int(self.count[counted].sum()) / (last - first + 1)

    def quantile(self, share: float) -> float:
        """The latency in seconds that `share` of the calls stay at or below; NaN if there are none."""
        if not self.calls:
            return math.nan
        order = np.argsort(self.latency)
        below = self.count[order].cumsum()
        return float(self.latency[order][below.searchsorted(share * below[-1])])

    def names(self) -> list[str]:
        """What was called."""
        return sorted(set(self.name.tolist()))

    def codes(self) -> dict[str, int]:
        """How many calls ended with each status, in alphabetical order."""
        return {code: int(self.count[self.code == code].sum()) for code in sorted(set(self.code.tolist()))}
