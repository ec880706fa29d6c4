"""serving.embedded.workers: threads that run calls for an event loop."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from serving.embedded.workers import Workers
from tests.unit.serving.embedded.fakes import eventually

CALLS = 2000


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Two threads."""
    with closing(Workers(2)) as workers:
        yield workers


def nothing() -> None:
    """Nobody hears of the end."""


async def test_results(workers: Workers) -> None:
    """Each of many calls has its own result, however their ends fall together, and each end is heard of."""
    ends: list[int] = []
    answers = [workers.run(lambda n=n: n * n, lambda n=n: ends.append(n)) for n in range(CALLS)]
    assert await asyncio.wait_for(asyncio.gather(*answers), 30) == [n * n for n in range(CALLS)]
    assert sorted(ends) == list(range(CALLS))


async def test_one_after_the_other(workers: Workers) -> None:
    """The loop is woken for a call that ends while it looks at another."""
    for number in range(CALLS // 4):
        first, second = workers.run(lambda: 1, nothing), workers.run(lambda n=number: n, nothing)
        assert await asyncio.wait_for(first, 30) == 1
        assert await asyncio.wait_for(second, 30) == number


async def test_error(workers: Workers) -> None:
    """What a call raises is raised where it is waited for; the thread goes on, and keeps nothing of it."""

    class Held:
        """What a call had in its hands."""

    held = weakref.WeakSet[Held]()

    def fail() -> None:
        mine = Held()
        held.add(mine)
        raise ZeroDivisionError("by what?")

    with pytest.raises(ZeroDivisionError, match="by what"):
        await workers.run(fail, nothing)
    assert await workers.run(lambda: 2, nothing) == 2
    gc.collect()
    assert not held


async def test_count(workers: Workers) -> None:
    """As many calls as there are threads run at the same time, and no more."""
    gate, running = threading.Event(), set[str]()

    def wait() -> None:
        running.add(threading.current_thread().name)
        gate.wait()

    answers = [workers.run(wait, nothing) for _ in range(4)]
    await eventually(lambda: running == {"call_0", "call_1"})
    assert not any(answer.done() for answer in answers)
    gate.set()
    await asyncio.gather(*answers)
    assert len(running) == 2


async def test_cancelled(workers: Workers) -> None:
    """A call that is cancelled before it begins is not run; one that runs has its end when it is done."""
    gate, ran, ends = threading.Event(), list[str](), list[str]()

    def call(name: str) -> "asyncio.Future[Any]":
        return workers.run(lambda: (ran.append(name), gate.wait()), lambda: ends.append(name))

    first, second, third = call("first"), call("second"), call("third")
    await eventually(lambda: sorted(ran) == ["first", "second"])
    first.cancel()
    third.cancel()
    await asyncio.sleep(0)
    assert not ends
    gate.set()
    await second
    await eventually(lambda: sorted(ends) == ["first", "second", "third"])
    assert "third" not in ran


async def test_close() -> None:
    """Closing waits for what is to run."""
    workers, ran = Workers(1), list[int]()
    answers = [workers.run(lambda n=n: ran.append(n), nothing) for n in range(10)]
    workers.close()
    assert ran == list(range(10))
    await asyncio.gather(*answers)
