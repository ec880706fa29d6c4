"""Captured requests of a real gateway, sent again"""

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy
from serving.wire.tfrecord import records
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
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


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    """It ends the start with one line."""
    command = [sys.executable, "-m", "gateway", "--models=m", "--capture.path=nowhere://x", "--listen=127.0.0.1:0"]
    ended = subprocess.run(
        [*command, "--http=127.0.0.1:0", "--no-auth.enabled"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("gateway: capture.path: nowhere://x: ")
    assert ended.stderr.count("\n") == 1
