"""gateway.rest.application: bodies that come in pieces, too large, too many, or not at all."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.interceptors.chain import Chain
from gateway.rest.application import RestApplication
from gateway.rest.context import HttpContext

MAX_BYTES = 100


async def echo(body: bytes, _context: HttpContext) -> bytes:
    """Answers with the body."""
    return b'"' + body + b'"'


async def never(_body: bytes, _context: HttpContext) -> bytes:
    """Answers nobody."""
    await asyncio.sleep(60)
    return b""


@pytest.fixture
def app() -> RestApplication:
    """An application whose interceptors let everybody in."""
    return RestApplication(
        {"/echo": echo, "/never": never},
        {},
        Chain([], max_request_bytes=MAX_BYTES),
        max_request_bytes=MAX_BYTES,
        max_bytes_in_flight=2 * MAX_BYTES,
        body_timeout=0.2,
    )


class Exchange:
    """One request, whose pieces come as they are put, and its answer."""

    def __init__(self, app: RestApplication, path: str = "/echo", headers: Mapping[str, str] | None = None) -> None:
        self.sent: list[Any] = []
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": raw}
        self.task = asyncio.create_task(app(scope | {"client": ("::1", 1)}, self._messages.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def put(self, body: bytes, *, more: bool = False) -> None:
        """A piece of the body."""
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """The client goes."""
        self._messages.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> tuple[int, bytes]:
        """Status and body."""
        await self.task
        return self.sent[0]["status"], self.sent[1]["body"]


async def test_pieces(app: RestApplication) -> None:
    """A body in pieces is one."""
    exchange = Exchange(app)
    exchange.put(b"ab", more=True)
    exchange.put(b"cd")
    assert await exchange.answer() == (200, b'"abcd"')


@pytest.mark.parametrize("announced", [{}, {"content-length": "101"}])
async def test_too_large(app: RestApplication, announced: dict[str, str]) -> None:
    """What is too large is refused, and where it says so itself, unread."""
    exchange = Exchange(app, headers=announced)
    if not announced:
        exchange.put(b" " * (MAX_BYTES + 1), more=True)
    status, text = await exchange.answer()
    assert (status, b"more than 100 bytes" in text) == (413, True)


async def test_too_many(app: RestApplication) -> None:
    """Bodies on their way are held to what they may be together, and give it back however they end."""
    for round_ in range(3):
        waiting = [Exchange(app) for _ in range(2)]
        for exchange in waiting:
            exchange.put(b" " * MAX_BYTES, more=True)
        await asyncio.sleep(0.01)
        refused = Exchange(app)
        refused.put(b" ")
        status, text = await refused.answer()
        assert (status, b"200 bytes" in text or b"201 bytes" in text) == (429, True)
        if round_ == 0:
            for exchange in waiting:
                exchange.put(b"")
        elif round_ == 1:
            for exchange in waiting:
                exchange.leave()
        # Else they never come, and their time is up.
        await asyncio.gather(*(exchange.task for exchange in waiting))
    late = Exchange(app)
    late.put(b"x")
    assert await late.answer() == (200, b'"x"')


async def test_too_slow(app: RestApplication) -> None:
    """A body that does not come in time is not waited for."""
    status, text = await Exchange(app).answer()
    assert (status, b"did not come within 0.2 s" in text) == (400, True)


async def test_gone(app: RestApplication) -> None:
    """Who leaves gets no answer, before the body's end or after it."""
    for path in ("/echo", "/never"):
        exchange = Exchange(app, path)
        if path == "/never":
            exchange.put(b"")
        await asyncio.sleep(0.01)
        exchange.leave()
        await asyncio.wait_for(exchange.task, 5)
        assert exchange.sent == []


async def test_stopping(app: RestApplication) -> None:
    """Calls under way go on; new ones are sent elsewhere."""
    started = Exchange(app)
    await asyncio.sleep(0.01)
    app.stop()
    started.put(b"x")
    assert (await started.answer())[0] == 200
    assert (await Exchange(app).answer())[0] == 503


def test_peer() -> None:
    """A client is named as gRPC names it."""
    assert HttpContext({}, ("::1", 5)).peer() == "ipv6:[::1]:5"  # type: ignore[arg-type]
