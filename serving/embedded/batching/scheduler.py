"""Which batch runs next: queues take turns, and as many batches run at the same time as there are batch threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from serving.embedded.batching.execution import Outcome
from serving.embedded.batching.queue import Batch, Queue
from serving.gathering import Gathering


class Scheduler:
    """Runs the batches of all models on `count` threads."""

    def __init__(self, threads: Executor, count: int) -> None:
        self.threads = threads
        self.on_batch: Callable[[Batch], None] = lambda _: None
        """Hears of each batch that leaves."""
        self._free = count
        # In the order of their turns; a dict is an ordered set.
        self._due: dict[Queue, None] = {}
        self._gathering = Gathering(self._dispatch)

    def add(self, queue: Queue) -> None:
        """Hears that `queue` has a batch that may leave, and of each further task in it."""
        self._gathering.arrived(first=not self._due)
        self._due[queue] = None
        self._schedule()
        if queue.full:
            self._gathering.hurry()

    def _schedule(self) -> None:
        if self._due and self._free:
            self._gathering.begin()

    def _dispatch(self) -> int:
        left = 0
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
            left += len(batch.tasks)
            running = asyncio.wrap_future(queue.start([task.rows for task in batch.tasks]))
            running.add_done_callback(partial(self._finish, batch))
        return left

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
