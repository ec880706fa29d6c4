"""Threads that run calls for an event loop, at less than a thread pool of the standard library takes for each.

Its futures have locks of their own, and each wakes the loop by a system call, for which the interpreter's lock is let
go. Here the loop is woken once for all that has been done since it last looked.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from serving.on_loop import OnLoop

Work = TypeVar("Work")


class _Job(NamedTuple):
    """What is to be run, who waits for it, and who hears that it was."""

    work: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    on_end: Callable[[], None]


class Workers(OnLoop):
    """At most `count` threads, made as they are needed; belongs to one event loop."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._threads: list[Thread] = []
        self._running = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: deque[tuple[_Job, Any, BaseException | None]] = deque()
        self._woken = False

    def run(self, work: Callable[[], Work], on_end: Callable[[], None]) -> "asyncio.Future[Work]":
        """The result of `work` on a thread, which does not run it if it is cancelled before.

        `on_end` is called on the loop once that is behind it, even if nobody waits any more.
        """
        answer = self._loop.create_future()
        self._running += 1
        if len(self._threads) < min(self._running, self._count):
            thread = Thread(target=self._run_all, name=f"call_{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(_Job(work, answer, on_end))
        return answer

    def close(self) -> None:
        """Returns once all that was to run has."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run_all(self) -> None:
        while job := self._jobs.get():
            result, error = None, None
            try:
                if not job.answer.cancelled():
                    result = job.work()
            except BaseException as raised:  # whoever waits hears of it
                error = raised
            self._ended.append((job, result, error))
            if not self._woken:
                self._woken = True
                self._loop.call_soon_threadsafe(self._answer)
            # Not kept until the next one comes.
            del job, result, error

    def _answer(self) -> None:
        # First, so that what ends from now on wakes the loop again.
        self._woken = False
        while self._ended:
            job, result, error = self._ended.popleft()
            self._running -= 1
            job.on_end()
            if job.answer.done():
                continue
            if error:
                job.answer.set_exception(error)
            else:
                job.answer.set_result(result)
