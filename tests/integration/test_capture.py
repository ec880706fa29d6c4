"""Captured requests of a real gateway, sent again"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy
from serving.wire.tfrecord import records
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer, brightest_row
from tests.integration.conftest import Gateway, StartGateway


async def captured(gateway: Gateway, directory: Path) -> list[Path]:
    """The files with 20 requests of 2 rows each, after the gateway has ended."""
    images = [digits.encode(digits.band(digit)) for digit in (3, 7)]
    async with gateway.client() as client:
        for _ in range(20):
            await client.predict_batch(images)
    await asyncio.to_thread(gateway.process.stop)
    return sorted((directory / "digits").iterdir())


async def test_the_end_loses_nothing(server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path) -> None:
    """What was captured is written before the gateway ends, as the model took it and as it answered."""
    path = tmp_path / "captured"
    gateway = start_gateway(
        server.address, f"--capture.path={path}", "--capture.sampling-rate=1", "--capture.max-rate=100"
    )
    (file,) = await captured(gateway, path)
    with file.open("rb") as opened:
        logs = [tfs.PredictionLog.FromString(record) for record in records(opened)]
    assert len(logs) == 20
    assert to_numpy(logs[0].predict_log.request.inputs["image"]).shape == (2, 28, 28)
    answers = to_numpy(logs[0].predict_log.response.outputs["probabilities"])
    assert answers.argmax(axis=1).tolist() == [3, 7]
    np.testing.assert_allclose(answers.max(axis=1), 0.91)


def replay(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m gateway replay` at the gateway."""
    command = [sys.executable, "-m", "gateway", "replay", *arguments, f"--address={gateway.address}"]
    return subprocess.run([*command, f"--key={gateway.key}"], capture_output=True, text=True, timeout=60, check=False)


async def test_replay(server: FakeModelServer, start_gateway: StartGateway, tmp_path: Path) -> None:
    """Answers are held against recorded ones and against another version's; the status says if they agree."""
    path = tmp_path / "captured"
    first = start_gateway(
        server.address, f"--capture.path={path}", "--capture.sampling-rate=1", "--capture.max-rate=100"
    )
    await captured(first, path)
    server.models["digits"].versions = [1, 2]
    gateway = start_gateway(server.address)
    alike = await asyncio.to_thread(
        replay, gateway, str(path), "--min-agreement=1", "--json", "--metadata=x-request-id=of-a-replay"
    )
    assert (alike.returncode, alike.stderr) == (0, "")
    assert "of-a-replay" in {call["request_id"] for call in gateway.calls()}
    found = json.loads(alike.stdout)
    assert (found["requests"], found["rows"], found["agreement"], found["errors"]) == (20, 40, 1.0, {})
    assert 0 < found["milliseconds"]["p50"] <= found["milliseconds"]["p100"]

    server.compute = lambda images: np.roll(brightest_row(images), 1, axis=1)
    other = await asyncio.to_thread(
        replay, gateway, f"{path}/digits/*", "--min-agreement=0.9", "--count=5", "--rate=50", "--version=2"
    )
    assert other.returncode == 1
    assert "0 of 10 rows agree (0.00%)" in other.stdout
    assert "0.00% of rows agree, expected at least 90.00%" in other.stderr
    versions = await asyncio.to_thread(
        replay, gateway, str(path), "--count=5", "--version=2", "--compare=1", "--min-agreement=1"
    )
    assert versions.returncode == 0
    assert "10 of 10 rows agree" in versions.stdout
    failing = await asyncio.to_thread(replay, gateway, str(path), "--version=9", "--count=3")
    assert failing.returncode == 1
    assert "NOT_FOUND × 3: Servable not found for request: Specific(digits, 9)" in failing.stdout
    assert "100.00% of the requests failed" in failing.stderr
    nothing = await asyncio.to_thread(replay, gateway, str(tmp_path / "nowhere"))
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("replay: ")
    nameless = await asyncio.to_thread(replay, gateway, str(path), "--metadata=token")
    assert nameless.returncode == 2
    assert nameless.stderr.endswith("error: metadata without `=`: expected NAME=VALUE\n")


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    """It ends the start, and the last line says why."""
    command = [sys.executable, "-m", "gateway", "--models=m", "--capture.path=nowhere://x", "--listen=127.0.0.1:0"]
    ended = subprocess.run(
        [*command, "--http=127.0.0.1:0", "--no-auth.enabled"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("gateway: capture.path: nowhere://x: ")
    assert "Traceback" not in ended.stderr
