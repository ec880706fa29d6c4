"""Several processes that serve as one gateway."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest

from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually, ready

PNG = digits.encode(digits.band(3))
CALLS = "tensorgate_calls_total"
WORKERS = 2


@pytest.fixture
def start_workers(start_gateway: StartGateway, server: FakeModelServer) -> Callable[..., Any]:
    """Starts a gateway of two processes and waits until both are ready."""

    async def start(*flags: str) -> Gateway:
        return await ready(start_gateway(server.address, f"--workers={WORKERS}", *flags))

    return start


def workers(gateway: Gateway) -> list[psutil.Process]:
    """The worker processes."""
    return psutil.Process(gateway.process.pid).children()


def counted(gateway: Gateway, name: str = CALLS, **labels: str) -> float:
    """The sum of the samples with these labels."""
    total = 0.0
    status, text = gateway.get("/metrics")
    assert status == 200, text
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{label}="{value}"' in line for label, value in labels.items()):
            total += float(line.rpartition(" ")[2])
    return total


class Caller:
    """A client with a connection of its own: which worker gets it is chance."""

    def __init__(self, gateway: Gateway) -> None:
        self.channel = grpc.aio.insecure_channel(gateway.address, options=(("grpc.use_local_subchannel_pool", 1),))
        self._stub = InferenceServiceStub(self.channel)
        self._metadata = (("authorization", f"Bearer {gateway.key}"),)

    async def predict(self) -> str:
        """The label of an image."""
        request = pb.PredictRequest(instances=[pb.Instance(image=PNG)])
        answer = await self._stub.Predict(request, timeout=TIMEOUT, metadata=self._metadata)
        return str(answer.predictions[0].classification.label)


@contextlib.asynccontextmanager
async def callers(gateway: Gateway, count: int) -> AsyncIterator[list[Caller]]:
    """Clients whose connections end with the context."""
    found = [Caller(gateway) for _ in range(count)]
    try:
        yield found
    finally:
        await asyncio.gather(*(caller.channel.close() for caller in found))


async def test_they_share_the_work(start_workers: Callable[..., Any]) -> None:
    """Connections go to both, metrics are those of both, ids of one are the other's too."""
    gateway = await start_workers()
    async with callers(gateway, 24) as connected:
        for client in connected:
            assert await client.predict() == "3"
    assert {line["worker"] for line in gateway.calls()} == {0, 1}
    # Whoever answers, it answers for both.
    assert [counted(gateway, code="OK") for _ in range(8)] == [24.0] * 8
    assert counted(gateway, "tensorgate_call_seconds_count", code="OK") == 24.0
    text = gateway.get("/metrics")[1]
    assert re.search(r'^tensorgate_model_version\{model="digits"\} 1\.0$', text, re.MULTILINE)
    assert len(re.findall(r"^process_resident_memory_bytes\{", text, re.MULTILINE)) == WORKERS
    assert text.count("# TYPE tensorgate_calls_total counter") == 1


async def test_a_killed_worker(start_workers: Callable[..., Any], server: FakeModelServer) -> None:
    """Only what a killed worker was answering fails; it comes back, and nothing that was counted is lost."""
    gateway = await start_workers()
    async with callers(gateway, 24) as connected:
        for client in connected:
            await client.predict()
        before = counted(gateway, code="OK")
        assert before == len(connected)
        server.hold()
        in_flight = [asyncio.create_task(client.predict()) for client in connected]
        await eventually(lambda: _true(counted(gateway, "tensorgate_calls_in_flight") == len(connected)))
        victim = workers(gateway)[0]
        victim.send_signal(signal.SIGKILL)
        await asyncio.to_thread(victim.wait, TIMEOUT)
        server.release()
        answers = await asyncio.gather(*in_flight, return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert 0 < len(failed) < len(connected)
        assert {error.code() for error in failed} == {grpc.StatusCode.UNAVAILABLE}
        await ready(gateway)
        for client in connected:
            assert await client.predict() == "3"
        survived = len(connected) - len(failed)
        assert counted(gateway, code="OK") == before + survived + len(connected)
    assert len(workers(gateway)) == WORKERS
    assert any(line["event"] == "worker ended" for line in gateway.log())


async def test_drain(start_workers: Callable[..., Any], server: FakeModelServer) -> None:
    """At SIGTERM every worker finishes what it has; not one call fails, and all ends with status 0."""
    gateway = await start_workers("--drain.delay=1")
    server.delay = 0.5
    ending = asyncio.Event()

    async def load(caller: Caller) -> int:
        answered = 0
        while not ending.is_set():
            assert await caller.predict() == "3"
            answered += 1
        return answered

    async with callers(gateway, 8) as connected:
        calls = [asyncio.create_task(load(caller)) for caller in connected]
        await eventually(lambda: _true(len(server.batches) > 1))
        known = workers(gateway)
        os.kill(gateway.process.pid, signal.SIGTERM)
        # Within the delay calls are taken as ever.
        await asyncio.sleep(0.2)
        ending.set()
        assert sum(await asyncio.gather(*calls)) >= len(connected)
    assert await asyncio.to_thread(gateway.process._process.wait, TIMEOUT) == 0
    assert not any(process.is_running() for process in known)


async def test_the_supervisor_is_killed(start_workers: Callable[..., Any]) -> None:
    """Workers do not outlive a supervisor that ended without a word."""
    gateway = await start_workers()
    known = workers(gateway)
    os.kill(gateway.process.pid, signal.SIGKILL)
    gone, alive = await asyncio.to_thread(psutil.wait_procs, known, TIMEOUT)
    assert (len(gone), alive) == (WORKERS, [])


async def test_reload(start_workers: Callable[..., Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP reaches every worker."""
    file = tmp_path / "gateway.yaml"
    file.write_text("limits: {max_concurrent_calls: 10}\n")
    monkeypatch.setenv("TENSORGATE_CONFIG", str(file))
    gateway = await start_workers()
    os.kill(gateway.process.pid, signal.SIGHUP)
    await eventually(
        lambda: _true({line["worker"] for line in gateway.log() if line["event"] == "settings reloaded"} == {0, 1})
    )
    assert not [line["need_restart"] for line in gateway.log() if line.get("need_restart")]


async def test_a_port_that_is_taken(start_workers: Callable[..., Any], server: FakeModelServer) -> None:
    """A second gateway does not share the first one's ports unasked; what keeps workers from starting ends all."""
    gateway = await start_workers()
    command = [sys.executable, "-m", "gateway", "--models=digits", f"--backend.address={server.address}", "--workers=2"]

    async def ended(*flags: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run, [*command, *flags], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        return done.returncode, done.stderr

    keys = f"--auth.keys-file={gateway.keys_file}"
    status, text = await ended(f"--listen={gateway.address}", "--http=127.0.0.1:0", keys)
    assert (status, "cannot listen on" in text) == (1, True)
    status, text = await ended("--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--auth.keys-file=none.json")
    assert (status, "none.json: No such file" in text) == (1, True)


async def _true(value: object) -> object:
    return value
