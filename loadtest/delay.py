"""A TCP proxy that makes a target slower by a fixed time: to see that the thresholds notice."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

_CHUNK = 65_536


@contextlib.contextmanager
def delayed(target: str, seconds: float) -> Iterator[str]:
    """The address of a proxy to `target` (host:port) that adds `seconds` to every round trip."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(_serve(target, seconds / 2), loop).result()
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _serve(target: str, delay: float) -> asyncio.Server:
    host, _, port = target.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, upstream_writer, delay), _copy(upstream_reader, writer, delay))

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Every chunk arrives `delay` seconds later, however many are on their way."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            loop.call_later(delay, writer.write, chunk)
    loop.call_later(delay, writer.close)
