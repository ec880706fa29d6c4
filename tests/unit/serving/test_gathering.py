"""serving.gathering"""

import asyncio
from types import SimpleNamespace

import pytest

from serving import gathering
from serving.gathering import Gathering

# More turns than anybody is waited for.
MANY = 40


class Stop:
    """Where requests wait, by a clock of its own; `sizes` are how many left together."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting = 0
        self.sizes: list[int] = []
        self.gathering = Gathering(self._leave)

    def arrive(self) -> None:
        """One more waits."""
        self.gathering.arrived(first=not self.waiting)
        self.waiting += 1
        self.gathering.begin()

    def _leave(self) -> int:
        left, self.waiting = self.waiting, 0
        self.sizes.append(left)
        return left


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """A stop where no time passes by itself."""
    stop = Stop()
    monkeypatch.setattr(gathering, "time", SimpleNamespace(monotonic=lambda: stop.now))
    return stop


async def turn(times: int) -> None:
    """Lets the event loop turn."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_alone(stop: Stop) -> None:
    """Who is alone leaves after a few turns, and so does the next."""
    for count in (1, 2):
        stop.arrive()
        await turn(1)
        assert len(stop.sizes) == count - 1
        await turn(9)
        assert stop.sizes == [1] * count


async def test_one_upon_the_other(stop: Stop) -> None:
    """Who comes a turn or two after the last leaves with those before."""
    for _ in range(5):
        stop.arrive()
        await turn(2)
    assert stop.sizes == []
    await turn(MANY)
    assert stop.sizes == [5]


async def test_no_end_of_arrivals(stop: Stop) -> None:
    """Nobody waits for longer than 15 ms, though others never cease to come."""
    for _ in range(20):
        stop.arrive()
        await turn(1)
        stop.now += 0.001
    assert stop.sizes[:1] == [16]


async def test_as_long_as_the_last_took(stop: Stop) -> None:
    """Those after a group that came over some time are left alone for most of it, without a look at the loop."""
    for _ in range(9):
        stop.arrive()
        stop.now += 0.001
    await turn(MANY)
    assert stop.sizes == [9]
    stop.arrive()
    held = stop.gathering._next
    assert isinstance(held, asyncio.TimerHandle)
    assert held.when() - asyncio.get_running_loop().time() <= 0.0072
    async with asyncio.timeout(5):
        while len(stop.sizes) < 2:  # noqa: ASYNC110  # what is waited for sets no event
            await asyncio.sleep(0.001)


async def test_hurry(stop: Stop) -> None:
    """As many as may leave in the next turn; where nobody is about to leave, nobody does."""
    stop.gathering.hurry()
    await turn(MANY)
    assert stop.sizes == []
    stop.gathering._span = 1000
    stop.arrive()
    await turn(MANY)
    assert stop.sizes == []
    stop.gathering.hurry()
    await turn(2)
    assert stop.sizes == [1]


async def test_hurry_again(stop: Stop) -> None:
    """Who is in a hurry too puts nobody off."""
    stop.arrive()
    asyncio.get_running_loop().call_soon(stop.gathering.hurry)
    stop.gathering.hurry()
    await turn(1)
    assert stop.sizes == [1]
