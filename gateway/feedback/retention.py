"""Deletes labels that are older than they may be, a few at a time, so that new ones need not wait."""

import asyncio
import time

import structlog

from gateway.errors import FeedbackUnavailable
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.receipts import MAX_SKEW

log = structlog.get_logger("gateway.feedback")

# Seconds between two looks; labels in one transaction, and seconds between two of those.
INTERVAL = 3600.0
BATCH = 500
PAUSE = 0.05
_DAY = 86400


async def prune(ledger: Ledger, metrics: FeedbackMetrics, days: float) -> None:
    """Deletes labels of predictions that are older than `days`, now and every hour, until cancelled."""
    while True:
        try:
            # Another replica, whose clock is behind, may still take labels for what is younger.
            await _prune(ledger, metrics, time.time() - days * _DAY - MAX_SKEW)
        except FeedbackUnavailable:
            # The log has it.
            pass
        except Exception:
            log.exception("old labels wait for the next time")
        await asyncio.sleep(INTERVAL)


async def _prune(ledger: Ledger, metrics: FeedbackMetrics, before: float) -> None:
    while deleted := await ledger.run(lambda store: store.prune(before, BATCH)):
        metrics.pruned.inc(deleted)
        await asyncio.sleep(PAUSE)
