"""Connections that ask nothing, and clients that take no answers."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.fakes import digits
from tests.integration.conftest import TIMEOUT, Gateway, eventually, on_one_transport, ready

PNG = digits.encode(digits.band(3))
# What a connection that says nothing may cost; docs/performance.md states it.
BYTES_EACH = 24 << 10
# As many as are asked for, if both processes may have so many files open, and fewer than Envoy takes.
MANY = min(9_900, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000)


@contextlib.contextmanager
def connections(address: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.closing(socket.create_connection((host, int(port)), timeout=TIMEOUT)))
            for _ in range(count)
        ]


def resident(gateway: Gateway) -> int:
    """Bytes of memory that the gateway has."""
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


async def test_silent_connections(gateway: Gateway) -> None:
    """Ten thousand connections that say nothing cost kilobytes each, and those who call do not notice them."""
    await ready(gateway)
    async with gateway.client() as client:
        assert (await client.predict(PNG)).label == "3"
        before = resident(gateway)
        with connections(gateway.address, MANY):
            process = psutil.Process(gateway.process.pid)
            await eventually(lambda: _true(process.num_fds() > MANY))
            assert (await client.predict(PNG)).label == "3"
            async with gateway.client() as another:
                assert (await another.predict(PNG)).label == "3"
            assert resident(gateway) - before < MANY * BYTES_EACH
        await eventually(lambda: _true(process.num_fds() < MANY // 2))
        assert (await client.predict(PNG)).label == "3"


@on_one_transport
async def test_silent_http_connections(server: Any, start_gateway: Any) -> None:
    """On the HTTP port no more connections stay than may."""
    gateway = await ready(start_gateway(server.address, "--rest.max-connections=50"))
    process = psutil.Process(gateway.process.pid)
    before = process.num_fds()
    with connections(gateway.http, 500):
        await eventually(lambda: _true(before + 40 < process.num_fds() < before + 60))
        async with gateway.client() as client:
            assert (await client.predict(PNG)).label == "3"
    await eventually(lambda: _true(process.num_fds() < before + 10))
    assert gateway.get("/livez")[0] == 200


@on_one_transport
async def test_who_takes_no_answers(gateway: Gateway) -> None:
    """A client that asks and asks over HTTP and reads nothing loses its connection, and memory stays."""
    await ready(gateway)
    gateway.get("/metrics")
    before = resident(gateway)
    with connections(gateway.http, 1) as (raw,):
        raw.settimeout(1.0)
        # Each answer is a hundred times as long.
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                raw.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 10)
        assert gateway.get("/livez")[0] == 200
        assert resident(gateway) - before < 64 << 20


async def _true(value: object) -> object:
    return value


pytestmark = pytest.mark.timeout(120)
