"""The main job: real digits through trainer, embedded server, gateway and client."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc
from serving.wire.codec import to_numpy, to_proto
from tensorgate import AsyncClient, Client, TensorgateError
from tests.e2e.conftest import TIMEOUT, Demo, StartServer, environment
from tests.fakes.digits import encode
from tests.integration.conftest import Gateway, eventually, gateways

CLASSES = 10


def processes_in(directory: Path) -> dict[int, str]:
    """Command lines of the processes that work in `directory`, by id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve() == directory:
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def answers(client: Client, sample: Path) -> bool:
    """Whether a prediction succeeds."""
    with contextlib.suppress(TensorgateError):
        return client.predict(sample).label == sample.name.split("-")[0]
    return False


def photo(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """A dark digit on white paper, off centre, in uneven light, with noise, as a JPEG."""
    side = int(rng.integers(400, 900))
    size = int(side * rng.uniform(0.35, 0.7))
    ink = np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)) / 255
    page = np.zeros((side, side))
    top, left = rng.integers(0, side - size, 2)
    page[top : top + size, left : left + size] = ink
    rows, columns = np.mgrid[0:side, 0:side] / side
    light = 1 - rng.uniform(0, 0.35) * (rows if rng.random() < 0.5 else columns)
    grey = (230 * (1 - page) + 40 * page) * light + rng.normal(0, 5, page.shape)
    return encode(
        np.clip(np.stack([grey, grey * 0.98, grey * 0.92], axis=-1), 0, 255).astype(np.uint8), "JPEG", quality=80
    )


def test_demo(demo: Demo) -> None:
    """`make demo` trains, serves, asks about a digit of each class, ends with status 0 and leaves nothing behind."""
    assert demo.ended.returncode == 0, demo.ended.stdout + demo.ended.stderr
    rows = re.findall(r"^(\d)-\S+\.png +(\d) +(\d) +([\d.]+)% +([\d.]+)", demo.ended.stdout, re.MULTILINE)
    assert [row[1] for row in rows] == [str(digit) for digit in range(CLASSES)]
    assert sum(row[1] == row[2] for row in rows) >= 9
    accuracy = re.search(r"held-out accuracy ([\d.]+)", demo.ended.stdout)
    assert accuracy
    assert float(accuracy.group(1)) >= 0.93
    assert processes_in(demo.directory) == {}
    # The gateway has the key's hash, and nobody the key.
    assert not any(b"tg_" in file.read_bytes() for file in (demo.directory / "var/stack").iterdir())


@pytest.fixture
def gateway(demo: Demo, start_server: StartServer, tmp_path: Path) -> Gateway:
    """A gateway in front of an embedded server with the demo's model."""
    with gateways(tmp_path, "grpc.aio") as start:
        yield start(start_server()[1])


def test_png_jpeg_and_photo(demo: Demo, gateway: Gateway, tmp_path: Path) -> None:
    """Held-out digits are recognised as PNG, as JPEG, and nearly as well in photos of dark ink on white paper."""
    rng = np.random.default_rng(1)
    right = dict.fromkeys(("png", "jpeg", "photo"), 0)
    with Client(gateway.address, key=gateway.key) as client:
        for sample in demo.samples:
            digit = np.asarray(Image.open(sample))
            for form, image in (
                ("png", sample.read_bytes()),
                ("jpeg", encode(digit, "JPEG", quality=95)),
                ("photo", photo(digit, rng)),
            ):
                right[form] += client.predict(image).label == sample.name.split("-")[0]
    assert len(demo.samples) == 2 * CLASSES
    assert right["png"] >= 18
    assert right["jpeg"] >= right["png"] - 1
    assert right["photo"] >= right["png"] - 2


def test_encoded_images_without_a_gateway(demo: Demo, start_server: StartServer) -> None:
    """The model server warms the model up, and answers encoded images as strings, as TensorFlow Serving does."""
    server, address = start_server()
    assert "1 answered 6 warm-up requests" in server.log.read_text()
    request = tfs.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "digits", "serving_bytes"
    request.inputs["image_bytes"].CopyFrom(to_proto(np.array([path.read_bytes() for path in demo.samples], object)))
    with grpc.insecure_channel(address) as channel:
        predictions = tfs_grpc.PredictionServiceStub(channel)
        answer = to_numpy(predictions.Predict(request, timeout=TIMEOUT).outputs["probabilities"])
        request.inputs["image_bytes"].CopyFrom(to_proto(np.array([b"no image"], object)))
        with pytest.raises(grpc.RpcError) as caught:
            predictions.Predict(request, timeout=TIMEOUT)
    right = [str(label) == path.name.split("-")[0] for label, path in zip(answer.argmax(1), demo.samples, strict=True)]
    assert sum(right) >= 18
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_command(demo: Demo, gateway: Gateway) -> None:
    """`tensorgate predict` answers with label, confidence and version."""
    ended = subprocess.run(
        [sys.executable, "-m", "tensorgate.cli", "predict", "--json", *map(str, demo.samples[:2])],
        env=environment() | {"TENSORGATE_ADDRESS": gateway.address, "TENSORGATE_KEY": gateway.key},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    entries = json.loads(ended.stdout)
    assert [entry["label"] for entry in entries] == ["0", "0"]
    assert all(entry["version"] == 1 and 0.5 < entry["confidence"] <= 1 for entry in entries)


async def test_restarted_server(demo: Demo, start_server: StartServer, tmp_path: Path) -> None:
    """While the model server restarts calls fail UNAVAILABLE at once; then they succeed by themselves."""
    server, address = start_server()
    image = demo.samples[0].read_bytes()
    with gateways(tmp_path, "grpc.aio") as start:
        gateway = start(address)
        async with gateway.client() as client:
            assert (await client.predict(image)).label == "0"
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(server.stop)
            started = time.monotonic()
            with pytest.raises(TensorgateError) as caught:
                await client.predict(image)
            assert caught.value.code == "UNAVAILABLE"
            assert time.monotonic() - started < 1.0
            await asyncio.to_thread(start_server, int(address.rpartition(":")[2]))
            await eventually(lambda: answered(client, image))


async def answered(client: AsyncClient, image: bytes) -> bool:
    """Whether the call succeeds."""
    with contextlib.suppress(TensorgateError):
        return (await client.predict(image)).label == "0"
    return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, which Linux has, to find processes")
def test_run_until_interrupted(demo: Demo) -> None:
    """`make run` serves with the model that is there until Ctrl-C, ends with status 0 and leaves no process behind."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "stack", "run", "--server=0", "--gateway=0", "--http=0"],
        cwd=demo.directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Serving until Ctrl-C" in line:
                break
        text = "".join(lines)
        exported = re.search(r"export TENSORGATE_ADDRESS=(\S+) TENSORGATE_KEY=(tg_\S+)", text)
        assert exported, text
        with Client(exported.group(1), key=exported.group(2)) as client:
            assert client.predict(demo.samples[0]).label == "0"
            # A model server that dies does not take the rest along, and is started again.
            (server,) = (pid for pid, command in processes_in(demo.directory).items() if "serving.embedded" in command)
            os.kill(server, signal.SIGKILL)
            assert "the model server has ended" in process.stdout.readline()
            with pytest.raises(TensorgateError, match="UNAVAILABLE"):
                client.predict(demo.samples[0])
            deadline = time.monotonic() + TIMEOUT
            while not answers(client, demo.samples[0]):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0, process.stdout.read()
    assert "Training" not in text
    assert processes_in(demo.directory) == {}


def test_demo_drift(demo: Demo) -> None:
    """`make demo-drift` sees inverted and noisy digits, and clean ones before and between, in its own words."""
    ended = subprocess.run(
        [sys.executable, "-m", "stack", "demo-drift"],
        cwd=demo.directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = re.findall(r"^  (no drift|drift: .*)", ended.stdout, re.MULTILINE)
    assert [text.partition(":")[0] for text in said] == ["no drift", "drift", "no drift", "drift"]
    assert "image_brightness" in said[1]
    assert "confidence" in said[3]
    assert len(re.findall(r"alarm 1$", ended.stdout, re.MULTILINE)) >= 2
    if shutil.which("prometheus"):
        alerts = re.findall(r"^  alert Drift: (.*)", ended.stdout, re.MULTILINE)
        assert alerts[0:3:2] == ["none", "none"]
        assert "image_brightness" in alerts[1]
        assert "confidence" in alerts[3]
    assert processes_in(demo.directory) == {}
