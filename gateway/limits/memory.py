"""Counts in this process: a microsecond a rule."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.limits import DAY, PLACE_RETRY_AFTER, ROUNDING, Refusal, Rule

# Subjects from which on those are forgotten who have not called lately.
SWEEP_AT = 10_000
# Seconds for which a new day is not taken back: a clock that jumps about midnight gives nobody a second day's calls.
SETTLING = 3600.0


@dataclass(slots=True)
class _Bucket:
    """`tokens` as they were at the time `at`."""

    tokens: float
    at: float
    rate: float
    burst: float

    def level(self, now: float) -> float:
        """Tokens at the time `now`."""
        return min(self.burst, self.tokens + (now - self.at) * self.rate)


class MemoryStore:
    """Counts that end with the process and are not shared with other replicas."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._buckets: dict[str, _Bucket] = {}
        self._sweep_at = SWEEP_AT
        self._day = 0
        self._turned = -math.inf
        """When a day was last followed by another, on `clock`."""
        self._used: dict[str, int] = {}
        """Calls of this day."""
        self._holders: dict[str, set[str]] = {}

    async def take(self, rules: Sequence[Rule], holder: str) -> Refusal | None:
        """Counts one call under every rule, or under none if one refuses it."""
        now, wall = self._clock(), self._wall()
        self._turn_day(int(wall // DAY), now)
        refusals = [Refusal(rule, wait) for rule in rules if (wait := self._wait(rule, now, wall)) > 0]
        if refusals:
            return max(refusals, key=lambda refusal: refusal.retry_after)
        for rule in rules:
            if rule.kind == "rate":
                self._bucket(rule, now).tokens -= 1
            elif rule.kind == "quota":
                self._used[rule.subject] = self._used.get(rule.subject, 0) + 1
            else:
                self._holders.setdefault(rule.subject, set()).add(holder)
        return None

    def release(self, rules: Sequence[Rule], holder: str) -> None:
        """Gives back what places `holder` has."""
        for rule in rules:
            holders = self._holders.get(rule.subject)
            if rule.kind == "concurrency" and holders is not None:
                holders.discard(holder)
                if not holders:
                    del self._holders[rule.subject]

    async def close(self) -> None:
        """Nothing is under way."""

    def _turn_day(self, day: int, now: float) -> None:
        if day == self._day or now - self._turned < SETTLING:
            return
        if self._day:
            self._turned = now
        self._day = day
        self._used.clear()

    def _wait(self, rule: Rule, now: float, wall: float) -> float:
        """Seconds until the rule has room; 0 if it has."""
        if rule.kind == "rate":
            missing = 1 - self._bucket(rule, now).tokens
            return missing / rule.amount if missing > ROUNDING else 0.0
        if rule.kind == "quota":
            return DAY - wall % DAY if self._used.get(rule.subject, 0) >= rule.amount else 0.0
        holders = self._holders.get(rule.subject, ())
        return PLACE_RETRY_AFTER if len(holders) >= rule.amount else 0.0

    def _bucket(self, rule: Rule, now: float) -> _Bucket:
        """The rule's bucket as it is now."""
        bucket = self._buckets.get(rule.subject)
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                # A full bucket is as good as none.
                self._buckets = {name: kept for name, kept in self._buckets.items() if kept.level(now) < kept.burst}
                self._sweep_at = max(SWEEP_AT, 2 * len(self._buckets))
            bucket = self._buckets[rule.subject] = _Bucket(rule.burst, now, rule.amount, rule.burst)
        bucket.rate, bucket.burst = rule.amount, rule.burst
        bucket.tokens, bucket.at = bucket.level(now), now
        return bucket
