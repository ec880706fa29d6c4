"""Locust against a real gateway: what is recorded is what happened."""

import os
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from loadtest import preflight, thresholds
from loadtest.delay import delayed
from loadtest.locust_process import HERE, Load, LoadFailedError, run
from loadtest.recording import Recording
from loadtest.thresholds import Threshold
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from serving.wire.tfrecord import frame
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import Gateway, StartGateway

# What is asked before a load.
DESCRIBING = {
    "/tensorgate.v1.InferenceService/GetModel",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/inference.GRPCInferenceService/ModelMetadata",
}
LOCUST = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "GatewayUser", "--loglevel", "WARNING"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one digit."""
    directory = tmp_path_factory.mktemp("images")
    (directory / "3-0001.png").write_bytes(digits.encode(digits.band(3)))
    return directory


def load(gateway: Gateway, images: Path, *options: str, host: str = "", users: int = 2, seconds: float = 2) -> Load:
    """A short load."""
    every = ("--images", str(images), "--batch", "4", *options)
    return Load("GatewayUser", host or gateway.address, users=users, seconds=seconds, options=every)


def answered(gateway: Gateway, before: int) -> int:
    """How many calls the gateway has had since its `before`th."""
    return sum(line["method"] not in DESCRIBING for line in gateway.calls()[before:])


def test_closed_loop(shared_gateway: Gateway, images: Path, tmp_path: Path) -> None:
    """Every kind of request succeeds, bad images are refused and that is no failure; the gateway saw as many calls."""
    before = len(shared_gateway.calls())
    measured = run(load(shared_gateway, images, "--bad-share", "0.3"), tmp_path / "run.json", key=shared_gateway.key)
    assert measured.failures == 0
    assert set(measured.codes()) == {"OK", "INVALID_ARGUMENT"}
    bad = sum(measured.called(name).calls for name in measured.names() if " bad" in name)
    # Four standard deviations about the share.
    assert abs(bad - 0.3 * measured.calls) < 4 * (0.3 * 0.7 * measured.calls) ** 0.5
    assert answered(shared_gateway, before) == measured.calls


@pytest.mark.parametrize(
    ("tag", "called"),
    [
        ("tensorgate", ("/tensorgate.v1.InferenceService/Predict", "Predict, PNG", "Predict, bad image")),
        (
            "tfserving",
            ("/tensorflow.serving.PredictionService/Predict", "TFS Predict, tensor", "TFS Predict, bad tensor"),
        ),
        ("oip", ("/inference.GRPCInferenceService/ModelInfer", "ModelInfer, tensor", "ModelInfer, bad tensor")),
        ("stream", ("/tensorgate.v1.InferenceService/StreamPredict", "StreamPredict, PNG", "StreamPredict, one bad")),
    ],
    ids=["tensorgate", "tfserving", "oip", "stream"],
)
def test_one_protocol(
    shared_gateway: Gateway, images: Path, tmp_path: Path, tag: str, called: tuple[str, str, str]
) -> None:
    """A tag calls by its protocol alone, with good input and bad, and of the rest the gateway hears nothing."""
    method, *names = called
    before = len(shared_gateway.calls())
    one = load(shared_gateway, images, "--tags", tag, "--bad-share", "0.4", seconds=1)
    measured = run(one, tmp_path / "run.json", key=shared_gateway.key)
    assert measured.failures == 0
    assert set(names) <= set(measured.names())
    asked = {line["method"] for line in shared_gateway.calls()[before:]} - DESCRIBING
    assert asked == {method}


def test_feedback(server: FakeModelServer, start_gateway: StartGateway, images: Path, tmp_path: Path) -> None:
    """For a share of the predictions the class comes back, and is booked."""
    flags = (f"--feedback.database-url=sqlite:///{tmp_path / 'feedback.db'}", f"--receipt-key={'k' * 32}")
    gateway = start_gateway(server.address, *flags, scopes=("predict:*", "feedback:*"))
    one = load(gateway, images, "--tags", "png", "--feedback-share", "0.5", seconds=1)
    measured = run(one, tmp_path / "run.json", key=gateway.key)
    assert measured.failures == 0
    assert 0 < measured.called("SubmitFeedback").calls < measured.called("Predict, PNG").calls


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
    assert answered(shared_gateway, before) == measured.calls


def test_what_cannot_be_loaded(shared_gateway: Gateway, images: Path, tmp_path: Path) -> None:
    """A target that is down, TLS where there is none, nothing to send, nothing to call: one message, and no load."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    certificate = tmp_path / "ca.pem"
    certificate.write_text("no certificate")
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        (load(shared_gateway, images, host=nobody), "is it running there"),
        (load(shared_gateway, images, "--ca-file", str(certificate)), "does --ca-file or --tls fit"),
        (load(shared_gateway, tmp_path / "empty"), "has no images; expected some to send"),
        (load(shared_gateway, images, "--tags", "tcp"), "nothing is tagged tcp; expected some of batch"),
    ):
        with pytest.raises(LoadFailedError, match=message):
            run(wrong, tmp_path / "run.json", key=shared_gateway.key)


def test_what_each_protocol_says(shared_gateway: Gateway, shared_server: FakeModelServer) -> None:
    """By any protocol the model's shape is found, and a target that cannot be loaded is told why."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    good = {"key": shared_gateway.key, "metadata": "", "ca_file": "", "tls": False, "model": "digits"}
    asked = [
        ("oip", shared_server.address, {}, "it speaks another protocol: choose by --tags"),
        ("tfserving", shared_server.address, {"key": None}, "[28, 28]"),
    ]
    for protocol in ("tensorgate", "tfserving", "oip"):
        asked += [
            (protocol, shared_gateway.address, {}, "[28, 28]"),
            (protocol, nobody, {}, "is it running there"),
            (protocol, shared_gateway.address, {"key": "tg_wrong"}, "set TENSORGATE_KEY, or --key"),
            (
                protocol,
                shared_gateway.address,
                {"key": None, "metadata": f"x-api-key={shared_gateway.key}"},
                "[28, 28]",
            ),
            (protocol, shared_gateway.address, {"tls": True}, "does --ca-file or --tls fit"),
            (protocol, shared_gateway.address, {"model": "letters"}, "letters"),
        ]
    for protocol, address, changes, expected in asked:
        try:
            said = str(preflight.check(address, Namespace(**(good | changes)), [protocol]).shape)
        except preflight.PreflightError as error:
            said = str(error)
        assert expected in said, (protocol, changes)
    with pytest.raises(preflight.PreflightError, match=r"takes no feedback.*set the gateway's feedback.database_url"):
        preflight.check_feedback(shared_gateway.address, Namespace(**good))
