"""Writes to the database off the event loop: one writer, and all that waits goes into one transaction."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from gateway.errors import FeedbackUnavailable, Overloaded
from gateway.feedback.database import DatabaseUnavailableError
from gateway.feedback.labels import Label, Outcome
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.store import Store
from gateway.observations import Variant

log = structlog.get_logger("gateway.feedback")

# Labels in one transaction; more than one request may have.
MAX_BATCH = 2000
RETRY_AFTER = 2.0
T = TypeVar("T")
_Submission = tuple[Sequence[Label], asyncio.Future[list[Outcome]]]


class Ledger:
    """The store, as the event loop may use it. FeedbackUnavailable while the database is away."""

    def __init__(self, store: Store, metrics: FeedbackMetrics, *, max_waiting: int) -> None:
        self._store = store
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="quality")
        self._queue: deque[_Submission] = deque()
        self._waiting = 0
        self._writing: asyncio.Task[None] | None = None
        self._up = True
        metrics.waiting.set_function(lambda: self._waiting)

    async def book(self, labels: Sequence[Label]) -> list[Outcome]:
        """Each label's outcome, once all are durable. Overloaded if too many wait already.

        Who stops waiting may find the labels booked all the same.
        """
        if not labels:
            return []
        if self._waiting and self._waiting + len(labels) > self._max_waiting:
            raise Overloaded(
                f"{self._waiting} labels wait to be written; retry later",
                reason="TOO_MANY_LABELS",
                retry_after=RETRY_AFTER,
            )
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.append((labels, done))
        self._waiting += len(labels)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return await done

    async def run(self, work: Callable[[Store], T]) -> T:
        """What `work` on the store returns, between two batches of labels."""
        try:
            result = await self._run(self._thread, work)
        except FeedbackUnavailable as error:
            self._note(error)
            raise
        self._note(None)
        return result

    async def read(self, work: Callable[[Store], T]) -> T:
        """What `work`, which only reads, returns, while labels are written."""
        return await self._run(self._reader, work)

    async def close(self) -> None:
        """Returns when all that waits is written, or cannot be."""
        if self._writing is not None:
            await self._writing
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._reader.shutdown)
        self._store.close()

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[Store], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work, self._store)
        except DatabaseUnavailableError as error:
            raise FeedbackUnavailable(
                "the database of labels is away; retry later", retry_after=RETRY_AFTER, private=str(error)
            ) from error

    async def _write(self) -> None:
        """Writes batch after batch until nothing waits."""
        while self._queue:
            batch = [self._queue.popleft()]
            size = len(batch[0][0])
            while self._queue and size + len(self._queue[0][0]) <= MAX_BATCH:
                batch.append(self._queue.popleft())
                size += len(batch[-1][0])
            await self._commit(batch)
            self._waiting -= size
        self._writing = None

    async def _commit(self, batch: Sequence[_Submission]) -> None:
        labels = [label for each, _ in batch for label in each]
        started = time.perf_counter()
        try:
            outcomes = await self.run(lambda store: store.book(labels))
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, FeedbackUnavailable):
                # Nobody pays for a neighbour.
                for submission in batch:
                    await self._commit([submission])
                return
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._count(labels, outcomes)
        place = 0
        for each, done in batch:
            if not done.done():
                done.set_result(outcomes[place : place + len(each)])
            place += len(each)

    def _count(self, labels: Sequence[Label], outcomes: Sequence[Outcome]) -> None:
        for label, outcome in zip(labels, outcomes, strict=True):
            self._metrics.labels.labels(label.model, outcome.value).inc()
            if outcome is Outcome.BOOKED:
                variant = Variant(label.variant).name.lower()
                delay = max(label.observed_at - label.predicted_at, 0)
                self._metrics.delay_seconds.labels(label.model, label.version, variant).observe(delay)

    def _note(self, error: FeedbackUnavailable | None) -> None:
        self._metrics.database_up.set(error is None)
        if self._up is not (error is None):
            self._up = error is None
            if error:
                log.error("the database of labels is away", message=error.private)
            else:
                log.info("the database of labels is back")
