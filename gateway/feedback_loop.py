"""Feedback and quality, wired: the database, who writes to it and reads it, what is counted."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from gateway.catalog import Catalog
from gateway.errors import FeedbackUnavailable
from gateway.feedback.database import connect
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.predictions import Predictions
from gateway.feedback.store import Store
from gateway.feedback.tasks import Tasks
from gateway.feedback_settings import FeedbackSettings
from gateway.metrics import Metrics
from gateway.observations import Observer
from gateway.quality.metrics import QualityMetrics
from gateway.quality.watch import QualityWatch
from gateway.receipts import Receipts
from gateway.servicers import feedback, quality
from gateway.servicers.feedback import FeedbackServicer
from gateway.servicers.quality import QualityServicer
from tensorgate.v1.feedback_service_pb2_grpc import add_FeedbackServiceServicer_to_server
from tensorgate.v1.quality_service_pb2_grpc import add_QualityServiceServicer_to_server

log = structlog.get_logger("gateway.feedback")

# Seconds between two writings of what was counted, and between two looks for new versions.
FLUSH_INTERVAL = 1.0


class FeedbackLoop:
    """What feedback and quality take, for a gateway whose settings name a database."""

    services = (feedback.NAME, quality.NAME)

    def __init__(self, settings: FeedbackSettings, catalog: Catalog, receipts: Receipts, metrics: Metrics) -> None:
        assert settings.database_url is not None
        own = FeedbackMetrics(metrics.registry)
        store = Store(connect(settings.database_url.get_secret_value()))
        self._ledger = Ledger(store, own, max_waiting=settings.max_waiting_labels)
        self._tasks = Tasks(catalog)
        self._predictions = Predictions(own)
        self._quality = QualityWatch(self._ledger, lambda: [*catalog.models])
        self._interval = settings.quality_interval
        QualityMetrics(metrics.registry, lambda: self._quality.latest, self._tasks.class_name)
        self.registrations: list[Callable[[Any], None]] = [
            partial(
                add_FeedbackServiceServicer_to_server,
                FeedbackServicer(self._ledger, receipts, self._tasks, own, max_labels=settings.max_labels),
            ),
            partial(add_QualityServiceServicer_to_server, QualityServicer(self._quality, catalog, self._tasks)),
        ]
        self.observers: list[Observer] = [self._predictions.observe]

    async def run(self) -> None:
        """Writes what was counted and reads how good it was, again and again until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quality.run(self._interval))
            while True:
                await self._flush()
                await asyncio.sleep(FLUSH_INTERVAL)

    async def close(self) -> None:
        """Writes what is left, if the database is there."""
        await self._flush()
        await self._ledger.close()

    async def _flush(self) -> None:
        try:
            await self._tasks.refresh(self._ledger)
            await self._predictions.flush(self._ledger)
        except FeedbackUnavailable:
            # The log has it, and the next flush tries again.
            pass
        except Exception:
            log.exception("what was counted waits for the next time")
