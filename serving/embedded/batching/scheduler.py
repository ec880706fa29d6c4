"""Which batch runs next: queues take turns, and as many batches run at the same time as there are batch threads."""

import asyncio
from concurrent.futures import Executor
from functools import partial

from serving.embedded.batching.execution import Outcome
from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.queue import Batch, Queue


class Scheduler:
    """Runs the batches of all models; `threads` are to be as many as the parameters say."""

    def __init__(self, parameters: Parameters, threads: Executor) -> None:
        self.parameters = parameters
        self.threads = threads
        self._free = parameters.num_batch_threads
        # In the order of their turns; a dict is an ordered set.
        self._due: dict[Queue, None] = {}
        self._scheduled = False

    def add(self, queue: Queue) -> None:
        """Hears that `queue` has a batch that may leave."""
        self._due[queue] = None
        if self._free and not self._scheduled:
            # After the requests that arrived in the same turn of the event loop.
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._free and self._due:
            queue = next(iter(self._due))
            del self._due[queue]
            batch = queue.take()
            if batch is None:
                continue
            self._due[queue] = None
            self._free -= 1
            running = asyncio.wrap_future(queue.start([task.rows for task in batch.tasks]))
            running.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: Batch, running: "asyncio.Future[list[Outcome]]") -> None:
        self._free += 1
        self._dispatch()
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
