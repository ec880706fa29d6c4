"""Watches the versions: takes observations, counts them in the background, and reports."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from gateway.catalog import Catalog, Servable
from gateway.drift.alarms import Alarm, Alarms
from gateway.drift.comparison import Comparison, compare
from gateway.drift.metrics import DriftMetrics
from gateway.drift.sketch import Feature, Sketch
from gateway.drift.windows import SlidingCounts
from gateway.observations import Observation
from gateway.settings.drift import DriftSettings
from serving.contract import Contract, Reference

log = structlog.get_logger("gateway.drift")

# Seconds between two flushes, and flushes between two looks at the windows.
INTERVAL, FLUSHES = 1.0, 5
# What waits for the next flush is held in memory: for each version so much of it, or one observation.
_MAX_BYTES = 16 << 20
_Key = tuple[str, str]


@dataclass(frozen=True)
class Window:
    """One sliding window of a version."""

    seconds: float
    rows: int
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Report:
    """What is known of a version's drift."""

    watched: bool
    """False where the contract has no reference."""
    rows: int
    """Predictions counted since the gateway first saw the version."""
    looks: int
    missing: int
    """Predictions that are wanted before the next look."""
    alarms: list[Alarm]
    windows: list[Window]

    @property
    def summary(self) -> str:
        """One sentence for people."""
        if not self.watched:
            return "the model's contract has no reference to compare with"
        if self.alarms:
            worst = sorted(self.alarms, key=lambda alarm: -alarm.psi)
            named = ", ".join(
                f"{alarm.feature.name} (PSI {alarm.psi:.2f}, p {alarm.p_value:.1g}, {alarm.rows} predictions)"
                for alarm in worst
            )
            return f"drift: {named}"
        if not self.looks:
            return f"{self.rows} predictions so far; {self.missing} more before the first look"
        return f"no drift in {self.rows} predictions (looks: {self.looks})"


@dataclass
class _Pending:
    """Observations that wait for the next flush."""

    observations: list[Observation] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    skipped: int = 0
    """Rows that came when there were enough."""


class _Watched:
    """A version with all that has been counted of it."""

    def __init__(self, contract: Contract, reference: Reference, settings: DriftSettings) -> None:
        self.contract = contract
        self.sketch = Sketch(contract, reference, settings.ignored)
        # The last place holds the number of predictions.
        self.windows = [SlidingCounts(self.sketch.size + 1, seconds) for seconds in sorted(settings.windows)]
        self.alarms = Alarms(self.sketch, look_rows=settings.look_rows, alpha=settings.alpha, min_psi=settings.min_psi)
        self.rows = 0

    def take(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Counts as many as the next look wants, lest blocks grow with the traffic, and returns the others."""
        rows = place = 0
        while place < len(observations) and rows < self.alarms.missing:
            rows += len(observations[place].answers)
            place += 1
        counts = self.sketch.count(observations[:place])
        self.rows += rows
        now = time.monotonic()
        for window in self.windows:
            window.add(np.append(counts, rows), now)
        self.alarms.take(counts, rows, time.time())
        return observations[place:]

    def show(self, now: float) -> list[Window]:
        """The windows that end at `now`."""
        totals = [(window.seconds, window.total(now)) for window in self.windows]
        return [
            Window(seconds, int(total[-1]), compare(self.sketch.features, self.sketch.parts(total[:-1])))
            for seconds, total in totals
        ]


class DriftMonitor:
    """Drift of every version in `catalog` whose contract has a reference.

    `observe` is all that a prediction pays for: it keeps references to at most `settings.max_rows` rows, or 16 MB, of a
    version (and the batch that exceeds that) until the next flush, once a second and in a thread.
    """

    def __init__(self, settings: DriftSettings, catalog: Catalog, metrics: DriftMetrics) -> None:
        self._settings = settings
        self._catalog = catalog
        self._metrics = metrics
        self._pending: dict[_Key, _Pending] = {}
        self._watched: dict[_Key, _Watched] = {}
        # Counting and reporting are threads' work.
        self._lock = threading.Lock()
        self._flushes = 0

    def observe(self, observation: Observation) -> None:
        """An Observer."""
        servable = observation.servable
        if servable.contract is None or servable.contract.reference is None:
            return
        key = servable.model, str(servable.version)
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = _Pending()
        rows = len(observation.answers)
        if pending.rows >= self._settings.max_rows or pending.size >= _MAX_BYTES:
            pending.skipped += rows
            return
        pending.observations.append(observation)
        pending.rows += rows
        pending.size += observation.nbytes

    async def run(self) -> None:
        """Flushes until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.flush()
            except Exception:
                # Whatever it is, predictions go on, and so does watching them.
                log.exception("drift is not counted")

    async def flush(self) -> None:
        """Counts what was observed, forgets versions that are gone, and now and then looks at the windows."""
        pending, self._pending = self._pending, {}
        live = {
            (model.name, str(version.number))
            for model in self._catalog.models.values()
            for version in model.versions.values()
            if version.servable
        }
        self._flushes += 1
        show = self._flushes % FLUSHES == 0
        await asyncio.to_thread(self._digest, pending, live, show=show)

    async def report(self, servable: Servable) -> Report:
        """What is known of a version."""
        return await asyncio.to_thread(self._report, (servable.model, str(servable.version)), servable.contract)

    def _digest(self, pending: dict[_Key, _Pending], live: set[_Key], *, show: bool) -> None:
        with self._lock:
            for key in self._watched.keys() - live:
                del self._watched[key]
                self._metrics.forget(key)
            for key, waiting in pending.items():
                if waiting.skipped:
                    self._metrics.skipped.labels(key[0]).inc(waiting.skipped)
                if key in live:
                    self._count(key, waiting)
            if show:
                now = time.monotonic()
                for key, watched in self._watched.items():
                    for window in watched.show(now):
                        self._metrics.window(key, window.seconds, window.rows, window.comparisons)

    def _count(self, key: _Key, pending: _Pending) -> None:
        contract = pending.observations[-1].servable.contract
        assert contract is not None  # or it was not kept
        # Other files may have come behind the same number.
        waiting: Sequence[Observation] = [each for each in pending.observations if each.servable.contract == contract]
        watched = self._watched.get(key)
        if watched is None or watched.contract != contract:
            watched = self._watched[key] = self._new(contract)
        before, looks = set(watched.alarms.raised), watched.alarms.looks
        while waiting:
            waiting = watched.take(waiting)
        self._tell(key, watched, before, watched.alarms.looks - looks)

    def _tell(self, key: _Key, watched: _Watched, before: set[Feature], looks: int) -> None:
        raised = watched.alarms.raised
        self._metrics.alarms(key, watched.sketch.features, set(raised), looks)
        for feature in raised.keys() - before:
            alarm = raised[feature]
            log.warning(
                "drift",
                model=key[0],
                version=int(key[1]),
                kind=feature.kind.value,
                feature=feature.name,
                psi=round(alarm.psi, 4),
                p_value=alarm.p_value,
                rows=alarm.rows,
            )
        for feature in before - raised.keys():
            log.info("drift over", model=key[0], version=int(key[1]), kind=feature.kind.value, feature=feature.name)

    def _report(self, key: _Key, contract: Contract | None) -> Report:
        with self._lock:
            if contract is None or contract.reference is None:
                return Report(False, 0, 0, 0, [], [])
            watched = self._watched.get(key)
            if watched is None or watched.contract != contract:
                watched = self._new(contract)
            alarms = watched.alarms
            raised = list(alarms.raised.values())
            return Report(True, watched.rows, alarms.looks, alarms.missing, raised, watched.show(time.monotonic()))

    def _new(self, contract: Contract) -> _Watched:
        assert contract.reference is not None  # the caller looked
        return _Watched(contract, contract.reference, self._settings)
