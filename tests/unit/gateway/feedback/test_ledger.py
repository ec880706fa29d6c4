"""gateway.feedback.ledger and gateway.feedback.predictions, with a store that does as the test says."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.answers import Answer, Classification, Raw, Regression
from gateway.catalog import Servable
from gateway.errors import FeedbackUnavailable, Overloaded
from gateway.feedback import predictions
from gateway.feedback.database import DatabaseUnavailableError
from gateway.feedback.labels import Label, Outcome, Sums, bucket
from gateway.feedback.ledger import MAX_BATCH, Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.predictions import Predictions
from gateway.observations import Observation, Variant
from tests.unit.gateway.feedback.conftest import classified

POISON = -1


class FakeStore:
    """Notes the batches; writes while `free` is set, and fails with `error` if there is one."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.counted: list[Sums] = []
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None

    def book(self, labels: Sequence[Label]) -> list[Outcome]:
        assert self.free.wait(20)
        if self.error:
            raise self.error
        if any(label.label_class == POISON for label in labels):
            raise RuntimeError("a mistake")
        self.batches.append(len(labels))
        return [Outcome.BOOKED if label.label_class == 3 else Outcome.CHANGED for label in labels]

    def count(self, sums: Sums) -> None:
        if self.error:
            raise self.error
        self.counted.append(dict(sums))

    def close(self) -> None:
        pass


@pytest.fixture
def store() -> FakeStore:
    """A store."""
    return FakeStore()


@pytest.fixture
def metrics() -> FeedbackMetrics:
    """Metrics of their own."""
    return FeedbackMetrics(CollectorRegistry())


@pytest.fixture
async def ledger(store: FakeStore, metrics: FeedbackMetrics) -> AsyncIterator[Ledger]:
    """A ledger for 3000 labels that wait."""
    ledger = Ledger(store, metrics, max_waiting=3000)  # type: ignore[arg-type]
    yield ledger
    store.free.set()
    await ledger.close()


async def held(ledger: Ledger, store: FakeStore) -> "asyncio.Task[list[Outcome]]":
    """A label that is being written until the store is free."""
    store.free.clear()
    task = asyncio.create_task(ledger.book([classified(3)]))
    await asyncio.sleep(0.02)
    return task


async def test_group_commit(ledger: Ledger, store: FakeStore) -> None:
    """What comes while a batch is written goes into the next one, and each caller gets the outcomes of its own."""
    first = await held(ledger, store)
    others = [asyncio.create_task(ledger.book([classified(3), classified(4)][: 1 + n % 2])) for n in range(100)]
    await asyncio.sleep(0.02)
    store.free.set()
    assert await first == [Outcome.BOOKED]
    for number, other in enumerate(others):
        assert await other == [Outcome.BOOKED, Outcome.CHANGED][: 1 + number % 2]
    assert store.batches == [1, 150]
    assert await ledger.book([]) == []


async def test_batches_are_bounded(ledger: Ledger, store: FakeStore) -> None:
    """No transaction has more labels than it may."""
    first = await held(ledger, store)
    others = [asyncio.create_task(ledger.book([classified(3)] * 900)) for _ in range(3)]
    await asyncio.sleep(0.02)
    store.free.set()
    await asyncio.gather(first, *others)
    assert store.batches == [1, 1800, 900]
    assert max(store.batches) <= MAX_BATCH


async def test_too_many_wait(ledger: Ledger, store: FakeStore) -> None:
    """Labels beyond those that may wait are refused at once, and taken when there is room."""
    first = await held(ledger, store)
    second = asyncio.create_task(ledger.book([classified(3)] * 2000))
    await asyncio.sleep(0.02)
    with pytest.raises(Overloaded) as caught:
        await ledger.book([classified(3)] * 1000)
    assert caught.value.reason == "TOO_MANY_LABELS"
    assert caught.value.retry_after
    store.free.set()
    await asyncio.gather(first, second)
    assert len(await ledger.book([classified(3)] * 1000)) == 1000


async def test_who_leaves_costs_nobody_else(ledger: Ledger, store: FakeStore) -> None:
    """A caller that stops waiting does not stop the others' labels."""
    first = await held(ledger, store)
    left, stays = (asyncio.create_task(ledger.book([classified(3)])) for _ in range(2))
    await asyncio.sleep(0.02)
    left.cancel()
    first.cancel()
    store.free.set()
    assert await stays == [Outcome.BOOKED]
    assert store.batches == [1, 2]


async def test_nobody_pays_for_a_neighbour(ledger: Ledger, store: FakeStore) -> None:
    """Labels that the store cannot make sense of fail alone, whatever batch they were in."""
    first = await held(ledger, store)
    good, bad, other = (asyncio.create_task(ledger.book([classified(truth)])) for truth in (3, POISON, 4))
    await asyncio.sleep(0.02)
    store.free.set()
    with pytest.raises(RuntimeError):
        await bad
    assert [await each for each in (first, good, other)] == [[Outcome.BOOKED], [Outcome.BOOKED], [Outcome.CHANGED]]


async def test_unavailable(ledger: Ledger, store: FakeStore, metrics: FeedbackMetrics) -> None:
    """A database that is away is told of, with when to come back; once it is there again all goes on."""
    store.error = DatabaseUnavailableError("secret address")
    with pytest.raises(FeedbackUnavailable) as caught:
        await ledger.book([classified(3)])
    assert caught.value.retry_after
    assert "secret" not in caught.value.message
    assert caught.value.private == "secret address"
    assert metrics.database_up._value.get() == 0
    store.error = RuntimeError("a mistake")
    with pytest.raises(RuntimeError):
        await ledger.book([classified(3)])
    store.error = None
    assert await ledger.book([classified(3)]) == [Outcome.BOOKED]
    assert metrics.database_up._value.get() == 1


def observation(*answers: Answer, variant: Variant = Variant.STABLE) -> Observation:
    """An observation of version 1 of `digits`."""
    return Observation(Servable("digits", 1, {}), variant, {}, answers)


def classification(confidence: float) -> Classification:
    """An answer."""
    return Classification("0123456789", [3], [confidence])


async def test_predictions(ledger: Ledger, store: FakeStore, metrics: FeedbackMetrics) -> None:
    """Predictions are counted by version, variant and confidence; what could not be written is written later."""
    counted = Predictions(metrics)
    counted.observe(observation(classification(0.99), classification(0.98), classification(0.1)))
    counted.observe(observation(classification(0.99), variant=Variant.CANDIDATE))
    counted.observe(observation(Regression(4.0), Raw({})))
    store.error = DatabaseUnavailableError("away")
    with pytest.raises(FeedbackUnavailable):
        await counted.flush(ledger)
    counted.observe(observation(classification(0.97)))
    store.error = None
    await counted.flush(ledger)
    await counted.flush(ledger)
    (sums,) = store.counted
    found = {key[:3] + key[4:]: terms for key, terms in sums.items()}
    assert {key: terms[0] for key, terms in found.items()} == {
        ("digits", 1, 0, 14): 3,
        ("digits", 1, 0, 1): 1,
        ("digits", 1, 1, 14): 1,
        ("digits", 1, 0, 0): 1,
    }
    assert found["digits", 1, 0, 14][1] == pytest.approx(2.94)
    assert all(abs(key[3] - bucket(time.time())) <= 300 for key in sums)


async def test_predictions_are_bounded(
    ledger: Ledger, store: FakeStore, metrics: FeedbackMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the database is away, what waits to be counted is bounded, and what is lost is told."""
    monkeypatch.setattr(predictions, "MAX_CELLS", 2)
    counted = Predictions(metrics)
    for place in range(4):
        counted.observe(observation(*[classification((place + 0.5) / 15)] * predictions.MAX_ANSWERS))
    assert not counted._kept
    await counted.flush(ledger)
    assert [sum(terms[0] for terms in sums.values()) for sums in store.counted] == [2 * predictions.MAX_ANSWERS]
    assert metrics.predictions_lost._value.get() == 2 * predictions.MAX_ANSWERS


def test_observing_is_cheap(metrics: FeedbackMetrics) -> None:
    """Observing a call takes microseconds, adding up included."""
    counted, seen = Predictions(metrics), observation(classification(0.9))
    started = time.thread_time()
    for _ in range(20_000):
        counted.observe(seen)
    assert (time.thread_time() - started) / 20_000 < 50e-6


def test_imports() -> None:
    """The fake has what the ledger asks of a store."""
    from gateway.feedback.store import Store  # noqa: PLC0415  # for this test alone

    ours: Any = vars(FakeStore)
    assert {name for name in ours if not name.startswith("_")} <= {*vars(Store)}
