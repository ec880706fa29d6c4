"""serving.transport.http: connections that are no use do not stay."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from starlette.responses import PlainTextResponse

from serving.transport import http
from serving.transport.http import HttpServer

TIMEOUT = 20.0
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpServer]:
    """A server that greets, and has little patience."""
    monkeypatch.setattr(http, "HEADERS_TIMEOUT", 0.3)
    found = HttpServer(PlainTextResponse("hello"), "127.0.0.1", 0, max_connections=3)
    serving = asyncio.create_task(found.run_until_stopped())
    yield found
    found.should_exit = True
    await serving


async def answer(server: HttpServer, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        async with asyncio.timeout(TIMEOUT):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("parts", [(), (b"G",), (b"GET / HTTP/1.1\r\nhost",)])
async def test_no_request(server: HttpServer, parts: tuple[bytes, ...]) -> None:
    """A connection on which no request begins, or none whole, is closed after a while."""
    started = time.monotonic()
    assert await answer(server, *parts) == b""
    assert time.monotonic() - started >= 0.25


async def test_between_requests(server: HttpServer) -> None:
    """A request in time is answered, and the time for the next begins with the answer."""
    assert (await answer(server, GET, GET, GET, pause=0.2)).count(b"hello") == 3


async def test_too_many_requests_at_once(server: HttpServer) -> None:
    """A few requests may wait for the answers before theirs; a flood ends the connection."""
    assert (await answer(server, GET * 5)).count(b"hello") == 5
    assert (await answer(server, GET * 1000)).count(b"hello") <= http.PIPELINED + 1


async def test_too_many_connections(server: HttpServer) -> None:
    """Connections beyond what may be are closed; the others are served."""
    kept = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    assert await answer(server, GET) == b""
    reader, writer = kept[0]
    writer.write(GET)
    assert b"200" in await reader.readline()
    for _, writer in kept:
        writer.close()
