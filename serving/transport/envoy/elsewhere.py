"""Calls that arrive on one event loop and are answered on another, in another thread."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from serving.transport.asgi.application import GrpcApplication
from serving.transport.asgi.call import Scope, Send
from serving.transport.asgi.requests import Receive

Result = TypeVar("Result")


async def elsewhere(
    application: GrpcApplication, loop: asyncio.AbstractEventLoop, scope: Scope, receive: Receive, send: Send
) -> None:
    """Has `application` answer a call on `loop`, while what it reads and writes stays on the loop that runs here."""
    here = asyncio.get_running_loop()

    def there(work: Callable[[], Awaitable[Result]]) -> "asyncio.Future[Result]":
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(work), here), loop=loop)

    def receive_there() -> "asyncio.Future[Any]":
        return there(receive)

    def send_there(event: Any) -> "asyncio.Future[None]":
        return there(lambda: send(event))

    answering = asyncio.run_coroutine_threadsafe(_awaited(lambda: application(scope, receive_there, send_there)), loop)
    await asyncio.wrap_future(answering)


async def _awaited(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()
