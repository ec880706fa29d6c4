"""gateway.stream"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.stream import answers


class Questions:
    """Numbers below `count`, and how many of them were read."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, 0

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in range(self.count):
            self.read += 1
            yield number


async def reversed_delay(number: int) -> int:
    """Answers the later ones sooner."""
    await asyncio.sleep(0.05 * (4 - number))
    return number


@pytest.mark.parametrize(("in_order", "expected"), [(True, [0, 1, 2, 3]), (False, [3, 2, 1, 0])])
async def test_order(in_order: bool, expected: list[int]) -> None:
    """Answers come as soon as they are there, or in order."""
    got = [a async for a in answers(aiter(Questions(4)), reversed_delay, in_order=lambda _: in_order, max_in_flight=4)]
    assert got == expected


async def test_some_in_order() -> None:
    """Answers in order keep it among themselves alone."""
    wanted = aiter(Questions(4))
    got = [a async for a in answers(wanted, reversed_delay, in_order=lambda number: number in (0, 2), max_in_flight=4)]
    assert got == [3, 1, 0, 2]


async def test_no_questions() -> None:
    """No questions, no answers."""
    assert [a async for a in answers(aiter(Questions(0)), reversed_delay, in_order=bool, max_in_flight=1)] == []


async def test_back_pressure() -> None:
    """Who takes no answer is asked for no more questions than may be under way."""
    questions = Questions(100)

    async def answer(number: int) -> int:
        return number

    stream = answers(aiter(questions), answer, in_order=lambda _: False, max_in_flight=3)
    assert await anext(stream) == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert questions.read == 3
    assert await anext(stream) == 1
    for _ in range(20):
        await asyncio.sleep(0)
    assert questions.read == 4
    await stream.aclose()


async def test_closing_cancels() -> None:
    """When the iterator is closed every answer under way is cancelled, and reading ends."""
    before = asyncio.all_tasks()
    cancelled: list[int] = []

    async def answer(number: int) -> int:
        try:
            await asyncio.sleep(60 if number else 0)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    stream = answers(aiter(Questions(9)), answer, in_order=lambda _: False, max_in_flight=4)
    assert await anext(stream) == 0
    await asyncio.sleep(0.01)
    await stream.aclose()
    assert sorted(cancelled) == [1, 2, 3]
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("in_order", [True, False])
async def test_what_is_raised_ends_it(in_order: bool) -> None:
    """What reading or answering raises is raised, and nothing is left under way."""
    before = asyncio.all_tasks()

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError

    async def forever(number: int) -> int:
        return await asyncio.sleep(0.01 if in_order else 60, number)

    async def failing(number: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ConnectionError):
        [a async for a in answers(broken(), forever, in_order=lambda _: in_order, max_in_flight=2)]
    with pytest.raises(ZeroDivisionError):
        [a async for a in answers(aiter(Questions(3)), failing, in_order=lambda _: in_order, max_in_flight=2)]
    assert asyncio.all_tasks() == before
