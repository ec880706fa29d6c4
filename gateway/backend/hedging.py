"""A second request for those that take long: the first answer counts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Answer = TypeVar("Answer")

# A call brings a tenth of a second request, up to this many saved.
SHARE = 0.1
MAX_SAVED = 10.0


class Hedging:
    """Sends a call once more that takes longer than `after` seconds, for a tenth of the calls at most."""

    def __init__(self, after: float, on_hedge: Callable[[], None] = lambda: None) -> None:
        self._after = after
        self._on_hedge = on_hedge
        self._saved = MAX_SAVED

    async def run(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """The first answer; the first call's error if both fail. What is not needed any more is cancelled."""
        self._saved = min(self._saved + SHARE, MAX_SAVED)
        tasks = [asyncio.ensure_future(call())]
        try:
            await asyncio.wait(tasks, timeout=self._after)
            if not tasks[0].done() and self._saved >= 1:
                self._saved -= 1
                self._on_hedge()
                tasks.append(asyncio.ensure_future(call()))
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.exception() is None:
                        return task.result()
            return tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
