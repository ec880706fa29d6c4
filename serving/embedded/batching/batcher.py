"""One model version's calls on their way through batches."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import TypeAlias

import numpy as np

from serving.embedded.batching.errors import NoBatchInput, ScalarBatchInput, UnequalBatchInputs
from serving.embedded.batching.execution import Outcome, Rows, execute_batch
from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.queue import CallLater, Queue, Task
from serving.embedded.batching.scheduler import Scheduler
from serving.embedded.servable import Call, Execute, Servable
from serving.wire.codec import Array

Submit: TypeAlias = Callable[[Executor, Callable[[Servable], list[Outcome]]], "Future[list[Outcome]]"]
"""Runs something on an executor, and keeps the model for as long as it runs."""


class Batcher:
    """The queues of a version, one for each signature and choice of outputs; `call_later` is the event loop's."""

    def __init__(self, scheduler: Scheduler, parameters: Parameters, submit: Submit, call_later: CallLater) -> None:
        self._scheduler = scheduler
        self._parameters = parameters
        self._submit = submit
        self._call_later = call_later
        self._queues: dict[Hashable, Queue] = {}
        self._closed = False

    async def run(self, call: Call) -> dict[str, Array]:
        """The outputs of a call by alias, run together with other calls; it leaves the queue if it is cancelled.

        Raises the call's own error, why it cannot be batched, or that the queue is full.
        """
        count = row_count(call.arguments)
        queue = self._queues.get(call.key) or self._new_queue(call)
        tasks: list[Task] = []
        try:
            tasks = queue.put(call, count)
            parts = [await tasks[0].answer] if len(tasks) == 1 else await asyncio.gather(*(t.answer for t in tasks))
        except BaseException:
            for task in tasks:
                task.answer.cancel()
                queue.leave(task)
            raise
        finally:
            # There are as many choices of outputs as callers think of.
            if queue.empty and self._queues.get(call.key) is queue:
                del self._queues[call.key]
        if len(parts) == 1:
            return call.named(parts[0])
        return call.named([np.concatenate(pieces) for pieces in zip(*parts, strict=True)])

    def close(self) -> None:
        """From now on no call waits for others."""
        self._closed = True
        for queue in self._queues.values():
            queue.close()

    def _new_queue(self, call: Call) -> Queue:
        queue = Queue(self._parameters, partial(self._start, call.execute), self._scheduler.add, self._call_later)
        if self._closed:
            queue.close()
        self._queues[call.key] = queue
        return queue

    def _start(self, execute: Execute, requests: Sequence[Rows]) -> "Future[list[Outcome]]":
        return self._submit(self._scheduler.threads, lambda _: execute_batch(execute, requests, self._parameters))


def row_count(arguments: Sequence[Array]) -> int:
    """The first dimension, which all arguments must share (batching_util.h).

    Raises NoBatchInput, ScalarBatchInput or UnequalBatchInputs.
    """
    if not arguments:
        raise NoBatchInput
    count = len(arguments[0]) if arguments[0].ndim else 0
    for argument in arguments:
        if not argument.ndim:
            raise ScalarBatchInput
        if len(argument) != count:
            raise UnequalBatchInputs
    return count
