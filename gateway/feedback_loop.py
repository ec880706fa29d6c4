"""Feedback, wired: the database, who writes to it, what is counted."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

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
from gateway.receipts import Receipts
from gateway.servicers import feedback
from gateway.servicers.feedback import FeedbackServicer
from tensorgate.v1.feedback_service_pb2_grpc import add_FeedbackServiceServicer_to_server

# Seconds between two writings of what was counted, and between two looks for new versions.
FLUSH_INTERVAL = 1.0


class FeedbackLoop:
    """What feedback takes, for a gateway whose settings name a database."""

    services = (feedback.NAME,)

    def __init__(self, settings: FeedbackSettings, catalog: Catalog, receipts: Receipts, metrics: Metrics) -> None:
        assert settings.database_url is not None
        own = FeedbackMetrics(metrics.registry)
        store = Store(connect(settings.database_url.get_secret_value()))
        self._ledger = Ledger(store, own, max_waiting=settings.max_waiting_labels)
        self._tasks = Tasks(catalog)
        self._predictions = Predictions(own)
        servicer = FeedbackServicer(self._ledger, receipts, self._tasks, own, max_labels=settings.max_labels)
        self.registrations: list[Callable[[Any], None]] = [partial(add_FeedbackServiceServicer_to_server, servicer)]
        self.observers: list[Observer] = [self._predictions.observe]

    async def run(self) -> None:
        """Writes what was counted, again and again until cancelled."""
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
            # The log has it; the next flush tries again.
            pass
