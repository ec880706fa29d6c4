"""Feedback and quality, wired: the database, who writes to it and reads it, what is counted."""

import asyncio
from functools import partial

import structlog

from gateway.catalog import Catalog
from gateway.errors import FeedbackUnavailable
from gateway.feedback.database import connect
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.predictions import Predictions
from gateway.feedback.retention import merge, prune
from gateway.feedback.store import Store
from gateway.feedback.tasks import Tasks
from gateway.metrics import Metrics
from gateway.parts.label_outcomes import LabelOutcomes
from gateway.parts.part import Part, Service
from gateway.quality.metrics import QualityMetrics
from gateway.quality.report import LONGEST
from gateway.quality.watch import QualityWatch
from gateway.receipts import Receipts
from gateway.servicers import feedback, quality
from gateway.servicers.feedback import FeedbackServicer
from gateway.servicers.quality import QualityServicer
from gateway.settings.feedback import FeedbackSettings
from tensorgate.v1 import feedback_service_pb2, quality_service_pb2
from tensorgate.v1.feedback_service_pb2_grpc import add_FeedbackServiceServicer_to_server
from tensorgate.v1.quality_service_pb2_grpc import add_QualityServiceServicer_to_server

log = structlog.get_logger("gateway.feedback")

# Seconds between two writings of what was counted, and between two looks for new versions.
FLUSH_INTERVAL = 1.0


class FeedbackPart(Part):
    """What feedback and quality take, for a gateway whose settings name a database."""

    def __init__(self, settings: FeedbackSettings, catalog: Catalog, receipts: Receipts, metrics: Metrics) -> None:
        assert settings.database_url is not None
        own = FeedbackMetrics(metrics.registry)
        store = Store(connect(settings.database_url.get_secret_value()))
        self._metrics = own
        self._retention = settings.retention_days
        # No window begins in what is older, and no label changes it.
        self._merged = max(receipts.lifetime, LONGEST)
        self._ledger = Ledger(store, own, max_waiting=settings.max_waiting_labels)
        self._tasks = Tasks(catalog)
        self.outcomes = LabelOutcomes(self._ledger, catalog)
        self._predictions = Predictions(own)
        self._quality = QualityWatch(self._ledger, lambda: [*catalog.models])
        self._interval = settings.quality_interval
        QualityMetrics(metrics.registry, lambda: self._quality.latest, self._tasks.class_name)
        booking = FeedbackServicer(self._ledger, receipts, self._tasks, own, max_labels=settings.max_labels)
        figures = QualityServicer(self._quality, catalog, self._tasks)
        self.services = [
            Service(
                [feedback.NAME],
                feedback_service_pb2.DESCRIPTOR,
                partial(add_FeedbackServiceServicer_to_server, booking),
                booking,
            ),
            Service(
                [quality.NAME],
                quality_service_pb2.DESCRIPTOR,
                partial(add_QualityServiceServicer_to_server, figures),
                figures,
            ),
        ]
        self.observers = [self._predictions.observe]

    async def run(self) -> None:
        """Writes what was counted, reads how good it was, deletes and merges what is old, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quality.run(self._interval))
            tasks.create_task(merge(self._ledger, self._merged))
            if self._retention is not None:
                tasks.create_task(prune(self._ledger, self._metrics, self._retention))
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
