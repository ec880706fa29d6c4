"""The batches of one signature that wait for a thread, as TensorFlow Serving's (shared_batch_scheduler.h)."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from serving.embedded.batching.errors import BatchQueueFull, BatchQueueTooShort, TaskTooLarge
from serving.embedded.batching.execution import Outcome, Rows
from serving.embedded.batching.parameters import Parameters
from serving.embedded.servable import Call
from serving.on_loop import OnLoop
from serving.wire.codec import Array

Start: TypeAlias = Callable[[Sequence[Rows]], "Future[list[Outcome]]"]
"""Runs requests' rows as one batch on a thread."""
CallLater: TypeAlias = Callable[..., asyncio.TimerHandle]


@dataclass(slots=True, eq=False)
class Task:
    """A request's rows, or a part of them, and the future of their outputs."""

    rows: Rows
    answer: "asyncio.Future[list[Array]]"
    since: float
    """When it came, by time.monotonic."""
    batch: "Batch | None" = None
    """Where it waits, until that leaves."""


@dataclass(slots=True, eq=False)
class Batch:
    """Tasks that will run together."""

    kind: Hashable
    """What must be equal for a task to join: the shapes of its rows or, if they may be made equal, their ranks."""
    tasks: list[Task] = field(default_factory=list)
    size: int = 0
    """Rows."""
    due: bool = False
    """Whether it may leave: it is full or has waited long enough. Until it leaves or is full, tasks join."""
    timer: asyncio.TimerHandle | None = None

    def add(self, task: Task) -> None:
        """Takes a task in."""
        self.tasks.append(task)
        self.size += task.rows.size
        task.batch = self


class Queue(OnLoop):
    """Forms batches, which `start` runs; `on_due` hears of each that may leave, and of each task that joins one.

    `call_later` is the event loop's.
    """

    def __init__(
        self, parameters: Parameters, start: Start, on_due: Callable[["Queue"], None], call_later: CallLater
    ) -> None:
        self.start = start
        self._parameters = parameters
        self._on_due = on_due
        self._call_later = call_later
        self._open: dict[Hashable, Batch] = {}
        self._batches: deque[Batch] = deque()
        self._closed = False

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._batches

    @property
    def full(self) -> bool:
        """Whether a batch waits that no further task can join."""
        return len(self._batches) > len(self._open)

    def put(self, call: Call, count: int) -> list[Task]:
        """Enqueues a call of `count` rows as one task, or several if it is split.

        Raises TaskTooLarge, or BatchQueueFull or BatchQueueTooShort if they do not fit now.
        """
        parameters = self._parameters
        if count > parameters.max_batch_size:
            raise TaskTooLarge(count, parameters.max_batch_size)
        kind = self._kind(call)
        batch, limit = self._open.get(kind), parameters.execution_limit
        if parameters.max_execution_batch_size:
            size = batch.size if batch else 0
            # The open batch's remainder is free even if the queue is as long as it may be.
            capacity = (parameters.max_enqueued_batches - len(self._batches)) * limit + (limit - size if batch else 0)
            if count > capacity:
                raise BatchQueueTooShort(
                    count,
                    capacity,
                    batches=len(self._batches),
                    max_batches=parameters.max_enqueued_batches,
                    open_size=size,
                    execution_limit=limit,
                )
            rows = list(_split(call.arguments, count, limit - size if batch else limit, limit))
        else:
            if (not batch or batch.size + count > limit) and len(self._batches) >= parameters.max_enqueued_batches:
                raise BatchQueueFull(len(self._batches), parameters.max_enqueued_batches)
            rows = [Rows(call.arguments, count)]
        now = time.monotonic()
        tasks = [Task(part, self._loop.create_future(), now) for part in rows]
        for task in tasks:
            self._add(task, kind)
        return tasks

    def leave(self, task: Task) -> None:
        """Takes out a task that nobody waits for any more, if it still is in the queue."""
        batch = task.batch
        if batch is None:
            return
        task.batch = None
        batch.tasks.remove(task)
        batch.size -= task.rows.size
        if not batch.tasks:
            self._batches.remove(batch)
            self._forget(batch)

    def take(self) -> Batch | None:
        """The first batch that may leave, if there is one."""
        for index, batch in enumerate(self._batches):
            if batch.due:
                del self._batches[index]
                self._forget(batch)
                for task in batch.tasks:
                    task.batch = None
                return batch
        return None

    def close(self) -> None:
        """From now on no batch waits for more rows."""
        self._closed = True
        for batch in self._batches:
            self._let_go(batch)

    def _kind(self, call: Call) -> Hashable:
        # Types are the signature's, and so equal.
        if self._parameters.pad_variable_length_inputs:
            # What is empty has nothing to be filled up with.
            return tuple([(array.ndim, 0 in array.shape[1:]) for array in call.arguments])
        return tuple([array.shape[1:] for array in call.arguments])

    def _add(self, task: Task, kind: Hashable) -> None:
        limit = self._parameters.execution_limit
        batch = self._open.get(kind)
        if batch and batch.size + task.rows.size > limit:
            del self._open[kind]
            self._let_go(batch)
            batch = None
        if batch is None:
            batch = self._open[kind] = Batch(kind)
            self._batches.append(batch)
            if self._parameters.batch_timeout and not self._closed:
                batch.timer = self._call_later(self._parameters.batch_timeout, self._let_go, batch)
        batch.add(task)
        if batch.size >= limit:
            del self._open[kind]
        if batch.timer is None or batch.size >= limit or batch.due:
            self._let_go(batch)

    def _let_go(self, batch: Batch) -> None:
        batch.due = True
        self._on_due(self)

    def _forget(self, batch: Batch) -> None:
        if self._open.get(batch.kind) is batch:
            del self._open[batch.kind]
        if batch.timer:
            batch.timer.cancel()


def _split(arguments: Sequence[Array], count: int, first: int, limit: int) -> Iterator[Rows]:
    """`count` rows in parts: `first` rows at most, then `limit` at a time."""
    start, end = 0, min(first, count)
    while start < end or not start:
        yield Rows([argument[start:end] for argument in arguments], end - start)
        if end == count:
            return
        start, end = end, min(end + limit, count)
