"""Stable and candidate of one running plan as this gateway sees them: outcomes, and copies for the shadow."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from gateway.answers import Classification
from gateway.observations import Observation
from gateway.rollout.agreement import compare
from gateway.rollout.evidence import Block, Counts, Metric, Pair
from gateway.rollout.metrics import RolloutMetrics
from gateway.rollout.plan import Plan
from gateway.settings.rollout import RolloutSettings
from gateway.split import Variant

# Seconds that a copy waits: the caller's answer is on its way by then.
AFTERWARDS = 0.01
# A loop that wakes this much later than asked has enough to do.
_LAG = 0.03
# Stable's latest calls and answers, by which slow and unsure are told.
_WINDOW, _ENOUGH = 512, 50
# Of one call's answers; more say little more.
_ANSWERS = 16
_QUANTILE = 0.9


class Trial:
    """A Witness of one plan's versions. Its methods take microseconds; `take` does the arithmetic."""

    def __init__(
        self, plan: Plan, settings: RolloutSettings, metrics: RolloutMetrics, busy: Callable[[], bool]
    ) -> None:
        self.plan = plan
        self._settings = settings
        self._metrics = metrics
        self._busy = busy
        self._counts = {(metric, candidate): [0, 0] for metric in Metric for candidate in (False, True)}
        """Bad ones and all, since the last look."""
        self._stable_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._stable_confidence: deque[float] = deque(maxlen=_WINDOW)
        self._slow: float | None = None
        self._unsure: float | None = None
        self._copies: set[asyncio.Task[None]] = set()

    def answered(self, variant: Variant, seconds: float, *, failed: bool) -> None:
        """One call to a version has ended."""
        candidate = variant is not Variant.STABLE
        self._count(Metric.ERRORS, candidate, failed)
        if failed:
            if variant is Variant.CANDIDATE:
                self._metrics.failovers.labels(self.plan.model).inc()
            return
        if not candidate:
            self._stable_seconds.append(seconds)
        # What is slow was settled before this call, or the comparison would not be a fair one.
        if self._slow is not None:
            self._count(Metric.LATENCY, candidate, seconds > self._slow)

    def observed(self, observation: Observation) -> None:
        """Answers were read by a version's contract."""
        candidate = observation.variant is not Variant.STABLE
        if observation.servable.version != (self.plan.candidate if candidate else self.plan.stable):
            return
        for answer in observation.answers[:_ANSWERS]:
            if not isinstance(answer, Classification):
                return
            confidence = answer.scores[0]
            if not candidate:
                self._stable_confidence.append(confidence)
            if self._unsure is not None:
                self._count(Metric.CONFIDENCE, candidate, confidence < self._unsure)

    def mirror(self, ask_candidate: Callable[[], Awaitable[Any]], answer: Any) -> None:
        """Copies a question to the candidate, if there is nothing better to do."""
        if len(self._copies) >= self._settings.shadow_concurrency or self._busy():
            self._metrics.shadowed.labels(self.plan.model, "dropped").inc()
            return
        copy = asyncio.get_running_loop().create_task(self._copy(ask_candidate, answer))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)

    async def _copy(self, ask_candidate: Callable[[], Awaitable[Any]], answer: Any) -> None:
        asked = time.perf_counter()
        await asyncio.sleep(AFTERWARDS)
        started = time.perf_counter()
        outcomes = self._metrics.shadowed
        if self._busy() or started - asked > AFTERWARDS + _LAG:
            outcomes.labels(self.plan.model, "dropped").inc()
            return
        try:
            candidates = await ask_candidate()
        except Exception:
            # Whatever it is, it is the candidate's, and nobody's call fails for it.
            outcomes.labels(self.plan.model, "failed").inc()
            self.answered(Variant.SHADOW, time.perf_counter() - started, failed=True)
            return
        outcomes.labels(self.plan.model, "answered").inc()
        self.answered(Variant.SHADOW, time.perf_counter() - started, failed=False)
        for comparison in compare(answer, candidates, self._settings.agreement_tolerance)[:_ANSWERS]:
            self._count(Metric.DISAGREEMENT, candidate=True, bad=not comparison.agree)
            self._metrics.distance.labels(self.plan.model).observe(comparison.distance)

    def take(self) -> Block:
        """What was counted since the last look; it goes to the metrics too."""
        block = {}
        for metric in Metric:
            stable, candidate = (Counts(*self._counts[metric, which]) for which in (False, True))
            self._counts[metric, False], self._counts[metric, True] = [0, 0], [0, 0]
            if stable.total or candidate.total:
                block[metric] = Pair(stable, candidate)
                self._expose(metric, self.plan.stable, "stable", stable)
                self._expose(metric, self.plan.candidate, "candidate", candidate)
        if len(self._stable_seconds) >= _ENOUGH:
            self._slow = self._settings.latency_factor * float(np.quantile(self._stable_seconds, _QUANTILE))
        if len(self._stable_confidence) >= _ENOUGH:
            self._unsure = float(np.quantile(self._stable_confidence, 1 - _QUANTILE))
        return block

    def close(self) -> None:
        """Drops what is under way in the shadow."""
        for copy in self._copies:
            copy.cancel()

    def _count(self, metric: Metric, candidate: bool, bad: bool) -> None:
        counts = self._counts[metric, candidate]
        counts[0] += bad
        counts[1] += 1

    def _expose(self, metric: Metric, version: int | None, variant: str, counts: Counts) -> None:
        labels = self.plan.model, str(version), variant, metric.value
        self._metrics.evidence.labels(*labels, "bad").inc(counts.bad)
        self._metrics.evidence.labels(*labels, "good").inc(counts.total - counts.bad)
