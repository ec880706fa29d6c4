"""The gateway as a process: how it starts, tells how it is, changes its keys, and ends."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from gateway.auth.keys import KeysFile, create
from tensorgate import TensorgateError
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually

PNG = digits.encode(digits.band(3))
States = health_pb2.HealthCheckResponse


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs `python -m gateway` to its end."""
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_imports_no_tensorflow() -> None:
    """Neither TensorFlow nor what comes with it is imported by the gateway."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import gateway.bootstrap"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert "grpc" in imported
    assert not imported & {"tensorflow", "keras", "mlflow", "scipy", "pandas", "trainer"}
    assert "--backend.address" in run("--help").stdout


def test_memory(gateway: Gateway, transport: str) -> None:
    """A serving gateway has less than 120 MB of resident memory, less than 200 MB inside Envoy."""
    status = Path(f"/proc/{gateway.process.pid}/status")
    if not status.exists():
        pytest.skip("needs /proc, which Linux has")
    resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < {"grpc.aio": 120_000, "envoy": 200_000}[transport]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "setting `models`"),
        (["--models=digits", "--backend.timeout=0"], "setting `backend.timeout`"),
        (["--models=digits", "--listen=nowhere"], "setting `listen`"),
        (["--models=digits", "--receipt-key=short"], "setting `receipt_key`: expected 16 to 64 bytes"),
        (["--models=digits", "--auth.keys-file=none.json"], "none.json: No such file or directory; make one with"),
        (["--models=digits", "--nonsense=1"], "nonsense"),
        (["keys", "--file", "none.json", "list"], "none.json"),
        (["keys", "--file", "none.json", "create", "--client", "x", "--scope", "fly"], "scopes"),
    ],
)
def test_bad_settings(arguments: list[str], text: str, tmp_path: Path) -> None:
    """A setting that makes no sense ends the start with a line that names it."""
    ended = run(*arguments, cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"})
    assert ended.returncode in (1, 2)
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def test_settings_file(tmp_path: Path) -> None:
    """Settings come from a file too; one that is missing, or has a key that does not exist, is an error."""
    file = tmp_path / "gateway.yaml"
    environment = {"PYTHONPATH": str(Path.cwd()), "TENSORGATE_CONFIG": str(file)}
    missing = run(env=environment)
    assert (missing.returncode, "gateway.yaml" in missing.stderr) == (2, True)
    file.write_text("models: digits\nbackend: {adress: 'x:1'}\n")
    misspelt = run(env=environment)
    assert (misspelt.returncode, "setting `backend.adress`" in misspelt.stderr) == (2, True)
    file.write_text("models: digits\nauth: {keys_file: nothing.json}\n")
    assert "nothing.json" in run(env=environment).stderr


async def test_keys(gateway: Gateway) -> None:
    """A key made, expired or revoked while the gateway runs is taken, or not, within a moment."""

    async def accepted(key: str) -> bool:
        async with gateway.client(key=key) as client:
            try:
                await client.list_models()
            except TensorgateError:
                return False
            return True

    made = run("keys", "--file", str(gateway.keys_file), "create", "--client", "other", "--days", "1")
    key = made.stdout.strip()
    await eventually(lambda: accepted(key))
    assert await accepted(gateway.key)
    listed = run("keys", "--file", str(gateway.keys_file), "list").stdout
    assert "other" in listed
    # What the file holds is of no use to who reads it.
    assert key.rpartition("_")[2] not in gateway.keys_file.read_text() + listed
    assert gateway.keys_file.stat().st_mode & 0o077 == 0
    assert run("keys", "--file", str(gateway.keys_file), "revoke", key.split("_")[1]).returncode == 0
    await eventually(lambda: _not(accepted(key)))
    # A file that cannot be read leaves the keys as they were.
    gateway.keys_file.write_text("{")
    await eventually(lambda: asyncio.sleep(0, any("keys file" in line["event"] for line in gateway.log())))
    assert await accepted(gateway.key)


async def _not(value: object) -> bool:
    return not await value  # type: ignore[misc]


async def test_expired_key(gateway: Gateway) -> None:
    """An expired key is UNAUTHENTICATED."""
    key, record = create("late", frozenset({"predict:*"}))
    expired = record.model_copy(update={"expires": record.created})
    KeysFile(keys=[expired]).save(gateway.keys_file)

    async def reason() -> bool:
        async with gateway.client(key=key) as client:
            with pytest.raises(TensorgateError) as caught:
                await client.list_models()
        return caught.value.reason == "CREDENTIAL_EXPIRED"

    await eventually(reason)


async def test_without_authentication(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """With authentication off nobody needs a key."""
    gateway = start_gateway(server.address, "--no-auth.enabled")
    async with gateway.client(key=None) as client:
        assert (await client.predict(PNG)).label == "3"


async def test_health(gateway: Gateway, server: FakeModelServer) -> None:
    """Health is the truth, for the gateway, its service and each model; nobody needs a key for it."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        health = HealthStub(channel)

        async def states() -> set[int]:
            names = ("", "tensorgate.v1.InferenceService", "digits")
            return {(await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in names}

        # The ports open though a busy machine has not seen the models yet.
        await eventually(lambda: _are(states, {States.SERVING}))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="cats"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        server.stop()
        await eventually(lambda: _are(states, {States.NOT_SERVING}))
        server.start()
        await eventually(lambda: _are(states, {States.SERVING}))


async def _are(value: object, expected: object) -> bool:
    return await value() == expected  # type: ignore[operator]


async def test_ops(gateway: Gateway, server: FakeModelServer) -> None:
    """/livez, /readyz and /metrics say how the gateway is."""
    async with gateway.client() as client:
        await client.predict(PNG)
        with pytest.raises(TensorgateError):
            await client.predict(b"")
    assert gateway.get("/livez") == (200, "ok\n")
    assert gateway.get("/readyz")[0] == 200
    assert gateway.get("/nothing")[0] == 404
    status, text = gateway.get("/metrics")
    assert status == 200
    method = 'method="/tensorgate.v1.InferenceService/Predict",model="digits",version="1"'
    assert f'tensorgate_calls_total{{client="tester",code="OK",{method}}} 1.0' in text
    assert f'tensorgate_calls_total{{client="tester",code="INVALID_ARGUMENT",{method}}} 1.0' in text
    assert 'tensorgate_instance_errors_total{model="digits",reason="IMAGE_EMPTY"} 1.0' in text
    assert 'tensorgate_stage_seconds_count{model="digits",stage="upstream"} 1.0' in text
    assert 'tensorgate_model_version{model="digits"} 1.0' in text
    assert "process_resident_memory_bytes" in text


async def test_drain(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """At SIGTERM health turns NOT_SERVING first, calls in flight finish, and the process ends with status 0."""
    gateway = start_gateway(server.address, "--drain.delay=1.0")
    server.delay = 2.0
    async with gateway.client() as client, grpc.aio.insecure_channel(gateway.address) as channel:
        in_flight = asyncio.create_task(client.predict(PNG))
        await eventually(lambda: asyncio.sleep(0, bool(server.batches)))
        gateway.process._process.send_signal(signal.SIGTERM)
        health = HealthStub(channel)

        async def not_serving() -> bool:
            answer = await health.Check(health_pb2.HealthCheckRequest())
            return answer.status == States.NOT_SERVING

        await eventually(not_serving)
        assert gateway.get("/readyz")[0] == 503
        # Within the delay new calls are still taken: load balancers need a moment to notice.
        server.delay = 0.0
        assert (await client.predict(PNG)).label == "3"
        assert not in_flight.done()
        assert (await in_flight).label == "3"
    assert await asyncio.to_thread(gateway.process._process.wait, TIMEOUT) == 0
    assert gateway.log()[-1]["event"] == "stopped"


async def test_a_watch_does_not_hold_up_the_end(gateway: Gateway) -> None:
    """Who watches health hears NOT_SERVING and then the end, and the process ends long before the grace is over."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="digits"))
        answers = aiter(watch)
        assert (await anext(answers)).status == States.SERVING
        started = time.monotonic()
        gateway.process._process.send_signal(signal.SIGTERM)
        heard = [answer.status async for answer in answers]
    assert heard == [States.NOT_SERVING]
    assert await asyncio.to_thread(gateway.process._process.wait, TIMEOUT) == 0
    assert time.monotonic() - started < 10.0


def test_starts_fast(server: FakeModelServer, start_gateway: StartGateway, transport: str) -> None:
    """The gateway serves after little work; what the machine does besides is not counted."""
    spent = psutil.Process(start_gateway(server.address).process.pid).cpu_times()
    assert spent.user + spent.system < {"grpc.aio": 3.0, "envoy": 6.0}[transport]
