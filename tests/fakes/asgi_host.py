"""An ASGI host without a network. As Envoy does, it tells that a client has gone after its request only if asked."""

import asyncio
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

GRPC = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
DISCONNECT = {"type": "http.disconnect"}


def frame(message: bytes, flag: int = 0) -> bytes:
    """A message on the wire."""
    return struct.pack(">BI", flag, len(message)) + message


@dataclass
class Exchange:
    """One request to `application` and its response."""

    application: Any
    path: str
    headers: Iterable[tuple[bytes, bytes]] = ()
    scope: dict[str, Any] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    """What the application has sent so far."""
    received: int = 0
    """How often the application has asked."""
    gone: bool = False

    def __post_init__(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._ended = False
        self.takes = asyncio.Event()
        self.takes.set()
        scope = {
            "type": "http",
            "http_version": "2",
            "method": "POST",
            "path": self.path,
            "query_string": b"",
            "headers": [*GRPC, *self.headers],
            "client": ("127.0.0.1", 4242),
            "extensions": {"http.response.trailers": {}},
        }
        self.task = asyncio.create_task(self.application(scope | self.scope, self._receive, self._send))

    def feed(self, body: bytes = b"", *, more: bool = True) -> None:
        """The client sends a part of the body."""
        self._events.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """The client resets the stream."""
        self.gone = True
        self._events.put_nowait(DISCONNECT)

    async def _receive(self) -> dict[str, Any]:
        self.received += 1
        if self._ended:
            return DISCONNECT if self.gone else {"type": "http.request", "body": b"", "more_body": False}
        event = await self._events.get()
        self._ended = not event.get("more_body")
        return event

    async def _send(self, event: dict[str, Any]) -> None:
        if self.gone:
            raise OSError("the client has gone")
        self.sent.append(event)
        if event.get("more_body"):
            await self.takes.wait()

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns once `condition` holds."""
        async with asyncio.timeout(10):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.001)

    async def finish(self, *body: bytes) -> "Exchange":
        """Sends `body` and its end, and waits for the response's."""
        for part in body:
            self.feed(part)
        self.feed(more=False)
        return await self.over()

    async def over(self) -> "Exchange":
        """Waits for the response's end, and checks that HTTP/2 could carry it."""
        await asyncio.wait_for(self.task, 10)
        kinds = [event["type"].removeprefix("http.response.") for event in self.sent]
        if not self.gone:
            assert kinds[0] == "start"
            assert all(kind == "body" for kind in kinds[1:-1])
            assert kinds[-1] == ("trailers" if self.sent[0].get("trailers") else "body")
            last = [event for event in self.sent if event["type"] == "http.response.body"][-1]
            assert not last.get("more_body")
        return self

    @property
    def status(self) -> int:
        """The HTTP status."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def initial(self) -> list[tuple[bytes, bytes]]:
        """The response's headers."""
        return list(self.sent[0]["headers"])

    @property
    def trailing(self) -> list[tuple[bytes, bytes]]:
        """The trailers; the headers of a response that has nothing else."""
        return list(self.sent[-1]["headers"]) if self.sent[-1]["type"].endswith("trailers") else self.initial

    @property
    def trailers_only(self) -> bool:
        """Whether one block of headers is all."""
        return len(self.sent) == 2 and not self.sent[0].get("trailers") and not self.sent[1].get("body")

    @property
    def code(self) -> int:
        """The gRPC status."""
        (code,) = [value for name, value in self.trailing if name == b"grpc-status"]
        return int(code)

    @property
    def message(self) -> str:
        """The status message as it is on the wire."""
        return dict(self.trailing).get(b"grpc-message", b"").decode()

    @property
    def body(self) -> bytes:
        """All of the body."""
        return b"".join(event.get("body", b"") for event in self.sent if event["type"] == "http.response.body")
