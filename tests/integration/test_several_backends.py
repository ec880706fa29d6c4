"""Several model servers: what goes wrong with one of them is nothing that callers notice."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health

from stack.processes import child
from tensorgate import TensorgateError
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, digits_server, eventually

PNG = digits.encode(digits.band(3))


@pytest.fixture
def servers() -> Iterator[list[FakeModelServer]]:
    """Two model servers with the same model."""
    with digits_server() as first, digits_server() as second:
        yield [first, second]


def addresses(servers: list[FakeModelServer]) -> str:
    """The setting that names both."""
    return ",".join(server.address for server in servers)


async def outcomes(gateway: Gateway, calls: int) -> Counter[str]:
    """How calls, one after the other, end."""
    ends: Counter[str] = Counter()
    async with gateway.client() as client:
        for _ in range(calls):
            try:
                ends[(await client.predict(PNG)).label or ""] += 1
            except TensorgateError as error:
                ends[error.code] += 1
    return ends


@contextmanager
def killable(directory: Path) -> Iterator[list[tuple[int, str]]]:
    """Two model servers as processes: their ids and addresses."""
    with ExitStack() as children:
        command = [sys.executable, "-m", "tests.fakes.model_server_process"]
        processes = [children.enter_context(child("server", command, directory / f"server-{n}.txt")) for n in range(2)]
        yield [(process.pid, process.wait_for("serving ", TIMEOUT).split()[1]) for process in processes]


async def test_kill(start_gateway: StartGateway, tmp_path: Path) -> None:
    """A kill -9 of one of two servers under 200 concurrent calls: not one of them fails."""
    with killable(tmp_path) as servers:
        gateway = start_gateway(",".join(address for _, address in servers), "--batching.max-in-flight=16")
        answered, enough = 0, asyncio.Event()

        async def call() -> None:
            nonlocal answered
            while not enough.is_set():
                assert (await client.predict(PNG)).label == "3"
                answered += 1

        async with gateway.client() as client:
            calls = [asyncio.create_task(call()) for _ in range(200)]
            await eventually(lambda: asyncio.sleep(0, answered > 200))
            before = answered
            os.kill(servers[0][0], signal.SIGKILL)
            # Long enough for every call that was on the dead server to come back.
            await eventually(lambda: asyncio.sleep(0, answered > before + 600 or any(task.done() for task in calls)))
            enough.set()
            await asyncio.gather(*calls)
        states = [f'tensorgate_backend_server_up{{server="{address}"}}' for _, address in servers]

        async def told() -> bool:
            metrics = gateway.get("/metrics")[1]
            return f"{states[0]} 0.0" in metrics and f"{states[1]} 1.0" in metrics

        await eventually(told)


async def test_versions(start_gateway: StartGateway, servers: list[FakeModelServer]) -> None:
    """A version is routed to once every server has it, so that no call meets a server without it."""
    gateway = start_gateway(addresses(servers))
    servers[0].models["digits"].versions = [1, 2]
    await asyncio.sleep(0.5)
    async with gateway.client() as client:
        assert {(await client.predict(PNG)).version for _ in range(6)} == {1}
        servers[1].models["digits"].versions = [1, 2]

        async def routed() -> bool:
            return (await client.predict(PNG)).version == 2

        await eventually(routed)
    assert all(server.batches for server in servers)


async def test_health(start_gateway: StartGateway, servers: list[FakeModelServer]) -> None:
    """A server that says it drains gets no more calls; one that knows nothing of health checks gets them."""
    servers[0].stop()
    servers[0].health = health.aio.HealthServicer()
    servers[0].start()
    servers[0].tell("ModelService", serving=True)
    gateway = start_gateway(addresses(servers))
    assert await outcomes(gateway, 20) == {"3": 20}
    assert all(server.batches for server in servers)
    servers[0].tell("ModelService", serving=False)

    async def spared() -> bool:
        servers[0].batches.clear()
        assert await outcomes(gateway, 10) == {"3": 10}
        return not servers[0].batches

    await eventually(spared)
    servers[0].tell("ModelService", serving=True)

    async def back() -> bool:
        return bool(servers[0].batches) or not await outcomes(gateway, 2)

    await eventually(back)


async def test_ejection(start_gateway: StartGateway, servers: list[FakeModelServer]) -> None:
    """A server that answers with errors alone is left out after a while."""
    gateway = start_gateway(addresses(servers))
    assert await outcomes(gateway, 4) == {"3": 4}
    servers[0].error = (grpc.StatusCode.INTERNAL, "broken")

    async def left_out() -> bool:
        return await outcomes(gateway, 30) == {"3": 30}

    await eventually(left_out)


async def test_hedging(start_gateway: StartGateway, servers: list[FakeModelServer]) -> None:
    """A call that one server does not answer in time is answered by the other."""
    gateway = start_gateway(addresses(servers), "--backend.hedge-after=0.1")
    servers[0].delay = 60.0
    started = time.monotonic()
    assert await outcomes(gateway, 6) == {"3": 6}
    assert time.monotonic() - started < 10.0
    assert "tensorgate_backend_hedges_total 0.0" not in gateway.get("/metrics")[1]


async def test_breaker(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """Servers that do not answer are not waited for again and again; when they are back calls succeed by themselves."""
    gateway = start_gateway(
        server.address, "--backend.timeout=0.6", "--backend.breaker-failures=2", "--backend.breaker-seconds=1"
    )
    assert await outcomes(gateway, 1) == {"3": 1}
    server.delay = 60.0
    assert await outcomes(gateway, 2) == {"DEADLINE_EXCEEDED": 2}
    started = time.monotonic()
    async with gateway.client() as client:
        with pytest.raises(TensorgateError) as caught:
            await client.predict(PNG)
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "BACKEND_BROKEN")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 1.0
    assert time.monotonic() - started < 0.5
    server.delay = 0.0

    async def back() -> bool:
        return await outcomes(gateway, 1) == {"3": 1}

    await eventually(back)
    assert "tensorgate_backend_breaker_open 0.0" in gateway.get("/metrics")[1]


async def test_cache(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """The same input is answered without the server, by the version that it was answered by; receipts are new."""
    gateway = start_gateway(server.address, "--backend.cache-bytes=100000")
    async with gateway.client() as client:
        first = await client.predict(PNG)
        second = await client.predict(PNG)
        assert (first.label, first.confidence, first.version) == (second.label, second.confidence, second.version)
        assert first.id != second.id
        assert len(server.batches) == 1
        await client.predict(digits.encode(digits.band(4)))
        assert len(server.batches) == 2
        server.models["digits"].versions = [1, 2]

        async def routed() -> bool:
            return (await client.predict(PNG)).version == 2

        await eventually(routed)
    assert len(server.batches) == 3
    assert 'tensorgate_cache_lookups_total{model="digits",outcome="hit"}' in gateway.get("/metrics")[1]
