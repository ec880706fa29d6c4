"""Gathers rows into upstream calls.

While fewer than `max_in_flight` upstream calls are under way, requests leave as soon as no other is about to come (see
`serving.gathering`). Beyond that they leave as one when a call returns: nothing waits at low load, and under load one
call carries many requests.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gateway.backend import Array, Tensors
from gateway.batch import Batch, Part
from gateway.errors import BackendFailed, BackendRejected, DeadlineExceeded, GatewayError, InvalidInput, Overloaded
from serving.gathering import Gathering
from serving.on_loop import OnLoop

RETRY_AFTER = 0.1
# Who has less time than this, in seconds, does not wait for others, and takes along those who do.
_HASTE = 0.1


class Send(Protocol):
    """The upstream call."""

    def __call__(self, inputs: Tensors, timeout: float) -> Awaitable[Tensors]:
        """Sends a batch, within `timeout` seconds."""


@dataclass(slots=True, eq=False)
class _Item:
    """One request's rows on their way."""

    inputs: Tensors
    rows: int
    kind: Any
    """What must be equal for two requests to share a call: names, types and shapes of their rows."""
    deadline: float
    answer: "asyncio.Future[Tensors]"
    mark: Any
    queued: float
    """When it came, on the clock of time.monotonic."""
    flight: "_Flight | None" = None


@dataclass(slots=True, eq=False)
class _Flight:
    """One upstream call and how many requests still want its answer."""

    items: list[_Item]
    waiting: int
    task: "asyncio.Task[None] | None" = None


class Batcher(OnLoop):
    """A queue of rows in front of one signature of one version."""

    def __init__(
        self,
        send: Send,
        *,
        max_rows: int,
        max_in_flight: int,
        max_queued_rows: int,
        check: Callable[[Tensors], None] | None = None,
        on_batch: Callable[[int, list[float], list[Any]], None] = lambda _rows, _waits, _marks: None,
    ) -> None:
        self._send = send
        self._max_rows = max_rows
        self._max_in_flight = max_in_flight
        self._max_queued_rows = max_queued_rows
        self._check = check
        self._on_batch = on_batch
        self._queue: deque[_Item] = deque()
        self._queued_rows = 0
        self._flights: set[_Flight] = set()
        self._gathering = Gathering(self._dispatch)
        # One timer for all: one for each request would cost as much as the rest of its way through here.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_deadline = math.inf

    @property
    def busy(self) -> bool:
        """Whether another row would have to wait."""
        return len(self._flights) >= self._max_in_flight

    async def submit(self, inputs: Tensors, deadline: float, mark: Any = None) -> Tensors:
        """The outputs for `inputs`, arrays whose first dimension is the same number of rows, as one answer.

        `deadline` is on the clock of time.monotonic; `on_batch` is told the `mark`. Overloaded if too much is queued,
        DeadlineExceeded when time is up, what the check raises, and whatever the upstream call raises.
        """
        now = time.monotonic()
        left = deadline - now
        if left <= 0:
            raise DeadlineExceeded("the deadline had passed before the model was asked")
        rows = next(iter(inputs.values())).shape[0]
        if self._queue and self._queued_rows + rows > self._max_queued_rows:
            raise Overloaded(
                f"{self._queued_rows} rows are waiting for this model, as many as may; retry later",
                retry_after=RETRY_AFTER,
            )
        kind = [(name, array.dtype, array.shape[1:]) for name, array in inputs.items()]
        item = _Item(inputs, rows, kind, deadline, self._loop.create_future(), mark, now)
        first = not self._queue
        self._gathering.arrived(first=first)
        self._queue.append(item)
        self._queued_rows += rows
        # Those between go with the first.
        if first or self._queued_rows >= self._max_rows:
            self._schedule()
        if left < _HASTE:
            self._gathering.hurry()
        if deadline < self._timer_deadline:
            self._set_timer(deadline)
        try:
            return await item.answer
        except asyncio.CancelledError:
            # Unless it was answered, or its time was over, before its task heard of it.
            if item.answer.cancelled():
                self._leave(item)
            raise

    def _schedule(self) -> None:
        if self._queue and not self.busy:
            self._gathering.begin()
            if self._queued_rows >= self._max_rows:
                self._gathering.hurry()

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_deadline = deadline
        self._timer = self._loop.call_later(deadline - time.monotonic(), self._expire)

    def _expire(self) -> None:
        """Ends the items whose time is over, and sees to it that the next is ended in time."""
        self._timer, self._timer_deadline = None, math.inf
        pending = [*self._queue, *(item for flight in self._flights for item in flight.items)]
        now = time.monotonic()
        for item in pending:
            if item.deadline <= now and not item.answer.done():
                item.answer.set_exception(DeadlineExceeded("the deadline passed before the model answered"))
                self._leave(item)
        earliest = min((item.deadline for item in pending if not item.answer.done()), default=math.inf)
        if earliest < math.inf:
            self._set_timer(earliest)

    def _leave(self, item: _Item) -> None:
        """Takes an abandoned item out of the queue, or ends its upstream call if nobody else waits for it."""
        if item.flight is None:
            self._queue.remove(item)
            self._queued_rows -= item.rows
            return
        item.flight.waiting -= 1
        if item.flight.waiting == 0 and item.flight.task is not None:
            item.flight.task.cancel()

    def _dispatch(self) -> int:
        left = 0
        while self._queue and not self.busy:
            items = self._next_batch()
            left += len(items)
            flight = _Flight(items, len(items))
            for item in items:
                item.flight = flight
            self._flights.add(flight)
            now = time.monotonic()
            self._on_batch(
                sum(item.rows for item in items), [now - item.queued for item in items], [item.mark for item in items]
            )
            flight.task = self._loop.create_task(self._fly(flight, items))
        return left

    def _next_batch(self) -> list[_Item]:
        """The first item and those after it that fit in the same call, in order."""
        first = self._queue.popleft()
        batch, rows = [first], first.rows
        left: deque[_Item] = deque()
        while self._queue and rows < self._max_rows:
            item = self._queue.popleft()
            if item.kind == first.kind and rows + item.rows <= self._max_rows:
                batch.append(item)
                rows += item.rows
            else:
                left.append(item)
        self._queue.extendleft(reversed(left))
        self._queued_rows -= rows
        return batch

    async def _fly(self, flight: _Flight, items: list[_Item]) -> None:
        try:
            await self._answer(items)
        finally:
            self._flights.discard(flight)
            # They know each other: apart, they go at once and not when cycles are looked for.
            flight.items = []
            self._schedule()

    async def _answer(self, items: list[_Item]) -> None:
        """Sends `items` as one call and hands each its part."""
        try:
            outputs = await self._call(items)
        except (InvalidInput, BackendRejected) as error:
            await self._answer_apart(items, error)
        except Exception as error:
            _fail(items, error)
        else:
            start = 0
            for item in items:
                if not item.answer.done():
                    item.answer.set_result(Part(outputs, start, item.rows))
                start += item.rows

    async def _answer_apart(self, items: list[_Item], error: GatewayError) -> None:
        """Finds whose rows a batch was refused for. What the check refuses it names; else each is tried by itself."""
        if len(items) == 1:
            _fail(items, error)
        elif isinstance(error, InvalidInput) and self._check is not None:
            valid = [item for item in items if _passes(item, self._check)]
            if valid:
                await self._answer(valid)
        else:
            for item in items:
                if not item.answer.done():
                    await self._answer([item])

    async def _call(self, items: list[_Item]) -> Batch:
        inputs: dict[str, Array] = dict(items[0].inputs)
        if len(items) > 1:
            inputs = {name: np.concatenate([item.inputs[name] for item in items]) for name in inputs}
        # Of all at once: one by one it would take longer than anything else here.
        if self._check is not None:
            self._check(inputs)
        rows = sum(item.rows for item in items)
        # The last of the deadlines: whose is earlier leaves by itself.
        timeout = max(item.deadline for item in items) - time.monotonic()
        outputs = await self._send(inputs, max(timeout, 0))
        for name, array in outputs.items():
            if array.shape[:1] != (rows,):
                raise BackendFailed(
                    f"the model answered {rows} rows with an output {name!r} of shape {list(array.shape)}"
                )
        return Batch(outputs, rows)


def _passes(item: _Item, check: Callable[[Tensors], None]) -> bool:
    """Whether an item's rows pass the check; fails it if not."""
    try:
        check(item.inputs)
    except InvalidInput as error:
        _fail([item], error)
        return False
    return True


def _fail(items: list[_Item], error: Exception) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_exception(error)
