"""Answers to a stream of questions: several at once, and never more than may be."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


async def answers(
    questions: AsyncIterator[Question],
    answer: Callable[[Question], Coroutine[Any, Any, Answer]],
    *,
    in_order: Callable[[Question], bool],
    max_in_flight: int,
) -> AsyncGenerator[Answer, None]:
    """The answer to each question: as it comes, but for questions `in_order`, whose answers keep the order.

    While `max_in_flight` answers are under way or not taken yet, no further question is read. What reading or answering
    raises ends the iterator; when it ends or is closed, what is under way is cancelled.
    """
    slots = asyncio.Semaphore(max_in_flight)
    ready: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
    pending: set[asyncio.Future[Any]] = set()

    def start(work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        task = asyncio.ensure_future(work)
        pending.add(task)
        task.add_done_callback(ready.put_nowait)
        return task

    async def read() -> None:
        last: asyncio.Future[Any] | None = None
        await slots.acquire()
        async for question in questions:
            if in_order(question):
                last = start(_after(last, answer, question))
            else:
                start(answer(question))
            await slots.acquire()

    reading = start(read())
    try:
        while pending:
            task = await ready.get()
            pending.discard(task)
            value = task.result()
            if task is not reading:
                yield value
                slots.release()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _after(
    last: asyncio.Future[Any] | None, answer: Callable[[Question], Coroutine[Any, Any, Answer]], question: Question
) -> Answer:
    """The answer to a question, but not before `last` is done."""
    task = asyncio.ensure_future(answer(question))
    try:
        if last is not None:
            await asyncio.wait({last})
        return await task
    finally:
        task.cancel()
