"""serving.transport.envoy.elsewhere"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from serving.transport.envoy.elsewhere import elsewhere


@pytest.fixture
def other() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_answered_there_and_spoken_here(other: asyncio.AbstractEventLoop) -> None:
    """The application runs on the other loop; what the host gives it is awaited on the host's."""
    here, sent = asyncio.get_running_loop(), []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert asyncio.get_running_loop() is other
        event = await receive()
        await send({"body": event["body"] + scope["path"]})
        await send({})

    def receive() -> "asyncio.Future[Any]":
        event = here.create_future()
        here.call_later(0.01, event.set_result, {"body": "a"})
        return event

    def send(event: Any) -> "asyncio.Future[None]":
        assert asyncio.get_running_loop() is here
        sent.append(event)
        done = here.create_future()
        done.set_result(None)
        return done

    await elsewhere(application, other, {"path": "b"}, receive, send)  # type: ignore[arg-type]
    assert sent == [{"body": "ab"}, {}]


async def test_a_host_that_fails(other: asyncio.AbstractEventLoop) -> None:
    """What the host raises, as for a client that has gone, is raised in the application, and what that raises here."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(OSError, match="gone"):
            await send({})
        raise ZeroDivisionError

    async def send(event: Any) -> None:
        raise OSError("gone")

    async def receive() -> Any:
        return {}

    with pytest.raises(ZeroDivisionError):
        await elsewhere(application, other, {}, receive, send)  # type: ignore[arg-type]
