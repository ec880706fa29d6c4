"""Locust against a real gateway: what is recorded is what happened."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtest import thresholds
from loadtest.delay import delayed
from loadtest.locust_process import HERE, Load, LoadFailedError, run
from loadtest.recording import Recording
from loadtest.thresholds import Threshold
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from serving.wire.tfrecord import frame
from tests.fakes import digits
from tests.integration.conftest import Gateway

LOCUST = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "GatewayUser", "--loglevel", "WARNING"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one digit."""
    directory = tmp_path_factory.mktemp("images")
    (directory / "3.png").write_bytes(digits.encode(digits.band(3)))
    return directory


def load(gateway: Gateway, images: Path, *options: str, host: str = "", users: int = 2, seconds: float = 2) -> Load:
    """A short load."""
    every = ("--images", str(images), "--batch", "4", *options)
    return Load("GatewayUser", host or gateway.address, users=users, seconds=seconds, options=every)


def test_closed_loop(shared_gateway: Gateway, images: Path, tmp_path: Path) -> None:
    """Every kind of request succeeds, bad images are refused and that is no failure; the gateway saw as many calls."""
    before = len(shared_gateway.calls())
    measured = run(load(shared_gateway, images, "--bad-share", "0.3"), tmp_path / "run.json", key=shared_gateway.key)
    assert measured.failures == 0
    kinds = ("PNG", "JPEG", "tensor", "batch", "bad image")
    assert measured.names() == sorted(f"Predict, {kind}" for kind in kinds)
    assert set(measured.codes()) == {"OK", "INVALID_ARGUMENT"}
    bad = measured.called("Predict, bad image").calls
    assert 0.2 < bad / measured.calls < 0.4
    seen = [line for line in shared_gateway.calls()[before:] if line["method"].endswith("/Predict")]
    assert len(seen) == measured.calls


def test_captured_requests(shared_gateway: Gateway, images: Path, tmp_path: Path) -> None:
    """They are all that is sent."""
    log = tfs.PredictionLog()
    log.predict_log.request.inputs["image"].CopyFrom(to_proto(np.zeros((2, 28, 28), np.float32)))
    (tmp_path / "1.tfrecord").write_bytes(frame(log.SerializeToString()))
    options = ("--captured", str(tmp_path))
    measured = run(load(shared_gateway, images, *options, seconds=1), tmp_path / "run.json", key=shared_gateway.key)
    assert measured.names() == ["Predict, captured"]
    assert set(measured.codes()) == {"OK"}


def test_open_loop_and_a_slow_gateway(shared_gateway: Gateway, images: Path, tmp_path: Path) -> None:
    """Calls come at their rate however slow the answers are; a threshold notices 50 ms more."""
    with delayed(shared_gateway.address, 0.05) as slow:
        rate = ("--rate-per-user", "40", "--tags", "png")
        measured = run(
            load(shared_gateway, images, *rate, host=slow, seconds=3), tmp_path / "run.json", key=shared_gateway.key
        )
    assert measured.quantile(0.1) >= 0.05
    # One at a time would be 2 users × 1 / 50 ms = 40 a second.
    assert measured.throughput > 55
    limit = Threshold(figure="p50", at_most=50)
    assert not thresholds.check([limit], measured, echo=measured)[0].passed


@pytest.mark.parametrize("options", [("--processes", "2"), ("--master", "--expect-workers", "1")])
def test_more_processes(shared_gateway: Gateway, images: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The calls of all workers are in the one recording, whether Locust started them or somebody else."""
    record = tmp_path / "run.json"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {**os.environ, "TENSORGATE_KEY": shared_gateway.key, "PYTHONPATH": str(HERE.parent)}
    before = len(shared_gateway.calls())
    command = [
        *LOCUST,
        "--headless",
        "--host",
        shared_gateway.address,
        "-u",
        "4",
        "-r",
        "4",
        "-t",
        "2s",
        "--stop-timeout",
        "10",
    ]
    command += ["--images", str(images), "--record", str(record)]
    command += ["--master-bind-port", port, *options]
    workers = []
    if "--master" in options:
        worker = [*LOCUST, "--worker", "--master-port", port]
        workers.append(subprocess.Popen(worker, env=environment, stderr=subprocess.DEVNULL))
    else:
        command += ["--master-port", port]
    try:
        subprocess.run(command, env=environment, check=True, timeout=60, capture_output=True)
    finally:
        for process in workers:
            process.terminate()
            process.wait()
    measured = Recording.load(record)
    assert measured.failures == 0
    seen = [line for line in shared_gateway.calls()[before:] if line["method"].endswith("/Predict")]
    assert len(seen) == measured.calls


def test_what_cannot_be_loaded(shared_gateway: Gateway, images: Path, tmp_path: Path) -> None:
    """A target that is down, a wrong key, TLS where there is none, nothing to send: one message, and no load."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    certificate = tmp_path / "ca.pem"
    certificate.write_text("no certificate")
    (tmp_path / "empty").mkdir()
    key = shared_gateway.key
    for wrong, credential, message in (
        (load(shared_gateway, images, host=nobody), key, "is it running there"),
        (load(shared_gateway, images), "tg_wrong", "set TENSORGATE_KEY, or --key"),
        (load(shared_gateway, images, "--ca-file", str(certificate)), key, "does --ca-file fit"),
        (load(shared_gateway, tmp_path / "empty"), key, "has no images; expected some to send"),
    ):
        with pytest.raises(LoadFailedError, match=message):
            run(wrong, tmp_path / "run.json", key=credential)
