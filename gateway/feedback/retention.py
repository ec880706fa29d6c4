"""Deletes labels and merges tallies that are old enough, a few at a time, so that new ones need not wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from gateway.errors import FeedbackUnavailable
from gateway.feedback.labels import DAY_SECONDS
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.receipts import MAX_SKEW

log = structlog.get_logger("gateway.feedback")

# Seconds between two looks; labels in one transaction, and seconds between two of those.
INTERVAL = 3600.0
BATCH = 500
PAUSE = 0.05


async def prune(ledger: Ledger, metrics: FeedbackMetrics, days: float) -> None:
    """Deletes labels of predictions that are older than `days`, now and every hour, until cancelled."""

    async def some() -> int:
        # Another replica, whose clock is behind, may still take labels for what is younger.
        before = time.time() - days * DAY_SECONDS - MAX_SKEW
        deleted = await ledger.run(lambda store: store.prune(before, BATCH))
        metrics.pruned.inc(deleted)
        return deleted

    await _hourly(some)


async def merge(ledger: Ledger, seconds: float) -> None:
    """Merges the tallies of each day that ended longer ago than `seconds`, now and every hour, until cancelled."""
    await _hourly(lambda: ledger.run(lambda store: store.merge(time.time() - seconds - MAX_SKEW)))


async def _hourly(some: Callable[[], Awaitable[int]]) -> None:
    """Does some of it and some more until none is left."""
    while True:
        try:
            while await some():  # noqa: ASYNC110  # it gives others a turn, and waits for nothing
                await asyncio.sleep(PAUSE)
        except FeedbackUnavailable:
            # The log has it.
            pass
        except Exception:
            log.exception("what is old waits for the next time")
        await asyncio.sleep(INTERVAL)
