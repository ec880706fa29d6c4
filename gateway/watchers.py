"""Who watches the models' answers, as the settings say."""

import asyncio
from collections.abc import Sequence

from gateway.capture.recorder import CaptureMetrics, Recorder
from gateway.catalog import Catalog
from gateway.drift.metrics import DriftMetrics
from gateway.drift.monitor import DriftMonitor
from gateway.metrics import Metrics
from gateway.observations import Observer
from gateway.settings import Settings


class Watchers:
    """Drift and capture, each unless it is off. CaptureError if requests cannot be captured as the settings say."""

    def __init__(self, settings: Settings, catalog: Catalog, metrics: Metrics) -> None:
        self.drift = (
            DriftMonitor(settings.drift, catalog, DriftMetrics(metrics.registry)) if settings.drift.enabled else None
        )
        self._capture = (
            Recorder(settings.capture, settings.models, CaptureMetrics(metrics.registry))
            if settings.capture.path
            else None
        )

    @property
    def observers(self) -> Sequence[Observer]:
        """For the predictor."""
        return [each.observe for each in (self.drift, self._capture) if each]

    async def run(self) -> None:
        """Counts in the background until cancelled; then writes what was captured."""
        try:
            await (self.drift.run() if self.drift else asyncio.Event().wait())
        finally:
            if self._capture:
                await asyncio.to_thread(self._capture.close)
