"""A TCP proxy that makes a target slower by a fixed time: to see that the thresholds notice."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial

_CHUNK = 65_536


@contextlib.contextmanager
def delayed(target: str, seconds: float) -> Iterator[str]:
    """The address of a proxy to `target` (host:port) that adds `seconds` to every round trip."""
    started: queue.Queue[tuple[str, Callable[[], object]]] = queue.Queue()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(target, seconds / 2, started)), daemon=True)
    thread.start()
    address, stop = started.get()
    try:
        yield address
    finally:
        stop()
        thread.join()


async def _serve(target: str, delay: float, started: queue.Queue[tuple[str, Callable[[], object]]]) -> None:
    host, _, port = target.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, upstream_writer, delay), _copy(upstream_reader, writer, delay))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    own_host, own_port = server.sockets[0].getsockname()[:2]
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    started.put((f"{own_host}:{own_port}", partial(loop.call_soon_threadsafe, stopping.set)))
    await stopping.wait()
    server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Every chunk arrives `delay` seconds later, however many are on their way."""
    loop = asyncio.get_running_loop()
    try:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                loop.call_later(delay, writer.write, chunk)
        await asyncio.sleep(delay)
    finally:
        writer.close()
