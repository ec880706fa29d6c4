"""The request's side of a call: messages as the host hands the body over, and whether the client is still there."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import grpc

from serving.transport.asgi.errors import CallError, ClientGoneError
from serving.transport.asgi.framing import Frames

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Requests:
    """Reads the body ahead, but never beyond a whole message that nobody has taken: the host holds the client up then.

    The host's `receive` is always awaited here and in no servicer, since a host's future must not be cancelled.
    """

    def __init__(
        self, receive: Receive, frames: Frames, on_gone: Callable[[], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._receive = receive
        self._frames = frames
        self._on_gone = on_gone
        self._loop = loop
        self._pending: asyncio.Future[MutableMapping[str, Any]] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._taker: asyncio.Future[bytes | None] | None = None
        """Whom the body's first event may give the one message that it holds, as nearly all do."""
        self._error: Exception | None = None
        self._ended = False

    async def next(self) -> bytes | None:
        """The next message, None after the last. CallError or ClientGoneError if there is no telling."""
        frames = self._frames
        while not frames.ready:
            if self._error is not None:
                raise self._error
            if self._ended:
                if not frames.empty:
                    raise CallError(grpc.StatusCode.INTERNAL, "the request ends within a message")
                return None
            self._ask()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = frames.pop()
        if not frames.ready and not self._ended:
            self._ask()
        return message

    async def only(self) -> bytes:
        """The one message of a call that takes one. CallError if there are none or several."""
        if not (self._ended or self._frames.ready or self._error):
            self._taker = self._loop.create_future()
            self._ask()
            message = await self._taker
            if message is not None:
                return message
        message = await self.next()
        if message is None:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "the request has no message; the method takes one")
        if not self._frames.empty or (not self._ended and await self.next() is not None):
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "the request has several messages; the method takes one")
        return message

    def probe(self) -> None:
        """Asks the host whether the client is still there, unless a message waits to be read."""
        if not self._frames.ready:
            self._ask()

    def close(self) -> None:
        """Nobody reads any more, or wants to know of the client."""
        self._on_gone = _nothing

    def _ask(self) -> None:
        if self._pending is None and self._error is None:
            receiving = self._receive()
            self._pending = receiving if asyncio.isfuture(receiving) else asyncio.ensure_future(receiving)
            self._pending.add_done_callback(self._received)

    def _received(self, future: asyncio.Future[MutableMapping[str, Any]]) -> None:
        self._pending = None
        taker, self._taker = self._taker, None
        try:
            event = future.result()
            if taker is not None and not event.get("more_body") and not taker.done():
                message = self._frames.only(event.get("body", b""))
                if message is not None:
                    self._ended = True
                    taker.set_result(message)
                    return
            self._take(event)
        except CallError as error:
            self._error = error
        except (asyncio.CancelledError, OSError):
            self._gone()
        waiter: asyncio.Future[Any] | None = taker or self._waiter
        if waiter is not None:
            if not waiter.done():
                waiter.set_result(None)
        elif not self._ended and not self._frames.ready:
            self._ask()

    def _take(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.disconnect":
            self._gone()
        elif not self._ended:
            self._frames.feed(event.get("body", b""))
            self._ended = not event.get("more_body", False)

    def _gone(self) -> None:
        self._error = ClientGoneError("the client has gone")
        self._on_gone()


def _nothing() -> None:
    pass
