"""gateway.feedback.retention"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, select

from gateway.feedback import retention, tables
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.store import Store, Task
from tests.unit.gateway.feedback.conftest import NOW, classified

DAY = 86400


@contextlib.asynccontextmanager
async def running(ledger: Ledger, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Has it done meanwhile, for 20 s at most; ends it and the ledger."""
    task = asyncio.create_task(work)
    async with asyncio.timeout(20):
        yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await ledger.close()


async def test_labels_go_by_age(open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are too old are deleted in several transactions and counted, also after a look that failed."""
    monkeypatch.setattr(retention, "INTERVAL", 0.01)
    monkeypatch.setattr(retention, "BATCH", 10)
    store = open_store()
    store.describe({("digits", 1): Task("classification", ("a", "b"))})
    young = [replace(classified(3), predicted_at=NOW - age * DAY, observed_at=NOW) for age in (1, 6.9)]
    store.book([replace(classified(3), predicted_at=NOW - 7.1 * DAY) for _ in range(35)] + young)
    prune, fails = store.prune, iter([True, False, True])
    monkeypatch.setattr(store, "prune", lambda *of: 1 / 0 if next(fails, False) else prune(*of))
    metrics = FeedbackMetrics(CollectorRegistry())
    ledger = Ledger(store, metrics, max_waiting=100)

    def receipts(connection: Connection) -> set[Any]:
        return set(connection.execute(select(tables.label.c.receipt)).scalars())

    async with running(ledger, retention.prune(ledger, metrics, days=7)):
        left: set[Any] = set()
        while left != {label.receipt for label in young}:
            await asyncio.sleep(0.02)
            left = await ledger.read(lambda store: store.read(receipts))
    assert metrics.pruned._value.get() == 35


async def test_tallies_of_old_days_are_merged(open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """Day by day until none is left, and younger ones stay."""
    monkeypatch.setattr(retention, "INTERVAL", 0.01)
    store = open_store()
    store.describe({("digits", 1): Task("classification", ("a", "b"))})
    noon = NOW // DAY * DAY + DAY / 2
    store.book([replace(classified(3), predicted_at=noon - age * DAY) for age in (1, 20, 21)])
    ledger = Ledger(store, FeedbackMetrics(CollectorRegistry()), max_waiting=100)

    def buckets(connection: Connection) -> list[int]:
        return sorted(connection.execute(select(tables.classification.c.bucket)).scalars())

    async with running(ledger, retention.merge(ledger, seconds=7 * DAY)):
        found: list[int] = []
        while found != [noon - 21.5 * DAY, noon - 20.5 * DAY, noon - DAY]:
            await asyncio.sleep(0.02)
            found = await ledger.read(lambda store: store.read(buckets))
