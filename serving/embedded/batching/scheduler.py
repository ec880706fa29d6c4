"""Which batch runs next: queues take turns, and as many batches run at the same time as there are batch threads."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from serving.embedded.batching.execution import Outcome
from serving.embedded.batching.queue import Batch, Queue

# A batch costs the event loop about as much as a few requests. Under load that loop is what requests queue for, and a
# batch that left with the first of them would hold one or two. So it leaves when the loop has turned a while and none
# came, a longer while if the last batch was larger. A lone caller waits for 4 turns, some tens of microseconds.
_TURNS_PER_TASK = 4
_MAX_TURNS = 16
# Turns cost what callers and the model could use. The requests of the last batch came over some time; for most of it
# the next is left alone.
_HELD = 0.9
_MAX_SECONDS = 0.015


class Scheduler:
    """Runs the batches of all models on `count` threads."""

    def __init__(self, threads: Executor, count: int) -> None:
        self.threads = threads
        self.on_batch: Callable[[Batch], None] = lambda _: None
        """Hears of each batch that leaves."""
        self._free = count
        # In the order of their turns; a dict is an ordered set.
        self._due: dict[Queue, None] = {}
        self._arrivals = 0
        self._first = self._last = 0.0
        self._span = 0.0
        self._patience = _TURNS_PER_TASK
        self._gathering = False
        self._hold: asyncio.TimerHandle | None = None

    def add(self, queue: Queue) -> None:
        """Hears that `queue` has a batch that may leave, and of each further task in it."""
        self._arrivals += 1
        self._last = time.monotonic()
        if not self._due:
            self._first = self._last
        self._due[queue] = None
        if self._hold and queue.full:
            self._hold.cancel()
            self._gather(0, -1)
        self._schedule()

    def _schedule(self) -> None:
        if self._due and self._free and not self._gathering:
            self._gathering = True
            hold = self._first + self._span * _HELD - time.monotonic()
            if hold > 0:
                self._hold = asyncio.get_running_loop().call_later(hold, self._gather, 0, -1)
            else:
                self._gather(0, -1)

    def _gather(self, quiet: int, arrivals: int) -> None:
        """Turns with the event loop until it is time to dispatch; `quiet` counts the turns without an arrival."""
        self._hold = None
        quiet = quiet + 1 if arrivals == self._arrivals else 0
        elapsed = time.monotonic() - self._first
        if quiet < self._patience and elapsed < _MAX_SECONDS and not any(queue.full for queue in self._due):
            asyncio.get_running_loop().call_soon(self._gather, quiet, self._arrivals)
        else:
            self._gathering = False
            self._span = min(self._last - self._first, _MAX_SECONDS)
            self._dispatch()

    def _dispatch(self) -> None:
        while self._free and self._due:
            queue = next(iter(self._due))
            del self._due[queue]
            batch = queue.take()
            if batch is None:
                continue
            if not queue.empty:
                self._due[queue] = None
            self._free -= 1
            self.on_batch(batch)
            self._patience = min(_TURNS_PER_TASK * len(batch.tasks), _MAX_TURNS)
            running = asyncio.wrap_future(queue.start([task.rows for task in batch.tasks]))
            running.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: Batch, running: "asyncio.Future[list[Outcome]]") -> None:
        self._free += 1
        self._schedule()
        error = running.exception()
        outcomes = [error] * len(batch.tasks) if error else running.result()
        for task, outcome in zip(batch.tasks, outcomes, strict=True):
            # It is done already if nobody waits for it any more.
            if task.answer.done():
                continue
            if isinstance(outcome, BaseException):
                task.answer.set_exception(outcome)
            else:
                task.answer.set_result(outcome)
