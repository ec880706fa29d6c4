"""What is counted of stable and candidate: outcomes, good or bad, of several metrics."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.rollout.plan import Plan
from gateway.split import Variant


class Metric(enum.StrEnum):
    """What a candidate is judged by. A bad outcome of each is:"""

    ERRORS = "errors"
    """no answer, or none within half of the time that the caller gave"""
    LATENCY = "latency"
    """an answer that takes `latency_factor` times as long as 90 % of stable's"""
    DISAGREEMENT = "disagreement"
    """in the shadow: another answer than stable's"""
    CONFIDENCE = "confidence"
    """less confidence than 90 % of stable's answers have"""
    QUALITY = "quality"
    """an answer that turned out wrong by the label that came back"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Outcomes: how many, and how many of them bad."""

    bad: int = 0
    total: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.bad + other.bad, self.total + other.total)

    @property
    def rate(self) -> float:
        """The share of bad ones; 0 of none."""
        return self.bad / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Outcomes of both versions in the same stretch of time."""

    stable: Counts = Counts()
    candidate: Counts = Counts()

    def __add__(self, other: "Pair") -> "Pair":
        return Pair(self.stable + other.stable, self.candidate + other.candidate)


Block = Mapping[Metric, Pair]


class Labels(Protocol):
    """Knows how answers turned out, from the labels that callers send back; shared by all replicas."""

    async def outcomes(self, model: str, version: int, variant: Variant, since: datetime) -> Counts:
        """Of the answers that a version gave as `variant` since then: how many have a label, and how many were wrong.

        OSError if the labels cannot be read now.
        """


class Source(Protocol):
    """Where evidence comes from: this gateway, or all of them."""

    async def take(self, plan: Plan) -> Block:
        """What has come since the last time; OSError if that cannot be known now."""


class LabelSource:
    """The quality of a running plan's versions, as it comes in."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._seen: dict[tuple[str, int, datetime], Counts] = {}

    async def take(self, plan: Plan) -> Block:
        """The labels that have come since the last time."""
        candidate = plan.candidate
        if candidate is None:
            return {}
        return {
            Metric.QUALITY: Pair(
                await self._new(plan, plan.stable, Variant.STABLE),
                await self._new(plan, candidate, Variant.CANDIDATE),
            )
        }

    async def _new(self, plan: Plan, version: int, variant: Variant) -> Counts:
        key = plan.model, version, plan.started.at
        now = await self._labels.outcomes(plan.model, version, variant, plan.started.at)
        # What was there before the first look is not of this roll-out, or cannot be told from what is not.
        before = self._seen.get(key, now)
        self._seen = {kept: counts for kept, counts in self._seen.items() if kept[0] != plan.model or kept[2] == key[2]}
        self._seen[key] = now
        # A label that was changed may take a bad outcome back, which is not undone: the past is not bet on again.
        total = max(now.total - before.total, 0)
        return Counts(min(max(now.bad - before.bad, 0), total), total)
