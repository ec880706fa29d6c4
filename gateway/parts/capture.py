"""Capture, wired."""

import asyncio

from gateway.capture.recorder import CaptureMetrics, Recorder
from gateway.metrics import Metrics
from gateway.parts.part import Part
from gateway.settings import Settings


class CapturePart(Part):
    """Keeps a sample of what is asked and answered. CaptureError if that cannot be done as the settings say."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._recorder = Recorder(settings.capture, settings.models, CaptureMetrics(metrics.registry))
        self.observers = [self._recorder.observe]

    async def close(self) -> None:
        """Writes what was captured."""
        await asyncio.to_thread(self._recorder.close)
