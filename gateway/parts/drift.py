"""Drift, wired."""

from functools import partial

from gateway.catalog import Catalog
from gateway.drift.metrics import DriftMetrics
from gateway.drift.monitor import DriftMonitor
from gateway.metrics import Metrics
from gateway.parts.part import Part, Service
from gateway.servicers import drift
from gateway.settings.drift import DriftSettings
from tensorgate.v1 import drift_service_pb2
from tensorgate.v1.drift_service_pb2_grpc import add_DriftServiceServicer_to_server


class DriftPart(Part):
    """Watches what is asked and answered; where it must not, its service says so."""

    def __init__(self, settings: DriftSettings, catalog: Catalog, metrics: Metrics) -> None:
        self._monitor = DriftMonitor(settings, catalog, DriftMetrics(metrics.registry)) if settings.enabled else None
        servicer = drift.Drift(catalog, self._monitor)
        register = partial(add_DriftServiceServicer_to_server, servicer)
        self.services = [Service([drift.NAME], drift_service_pb2.DESCRIPTOR, register, servicer)]
        self.observers = [self._monitor.observe] if self._monitor else []

    async def run(self) -> None:
        """Judges, again and again."""
        if self._monitor:
            await self._monitor.run()
