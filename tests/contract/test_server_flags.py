"""The embedded server's ways in, its health and its warm-up, with TensorFlow Serving's own client and records."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from stack.processes import Child
from tests.contract import models
from tests.contract.client import TIMEOUT, Client, predict_request
from tests.contract.conftest import Start
from tests.fakes.tls import Identity, certificate, write_ssl_config

X = {"x": np.array([[4]], np.float32)}
WARM_UP = "assets.extra/tf_serving_warmup_requests"


def write_warm(directory: Path, *inputs: dict[str, np.ndarray]) -> None:
    """half_plus_two with warm-up requests."""
    models.write_half_plus_two(directory)
    (directory / WARM_UP).parent.mkdir()
    with tf.io.TFRecordWriter(str(directory / WARM_UP)) as writer:
        for given in inputs:
            log = PredictionLog(predict_log=PredictLog(request=predict_request(given)))
            writer.write(log.SerializeToString())


@pytest.fixture(scope="module")
def identity() -> Identity:
    """The server's key and certificate."""
    return certificate()


@pytest.fixture(scope="module")
def server(
    transport: str, start: Start, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Child, str, Path]:
    """A server with TLS on its port, a Unix socket and health; its address and its socket.

    Versions 1 and 2 have warm-up records, 2 one that fails; those of 3 are cut short.
    """
    directory = tmp_path_factory.mktemp("server")
    write_warm(directory / "wire/1", X, X)
    write_warm(directory / "wire/2", X, {"y": X["x"]})
    write_warm(directory / "wire/3", X)
    torn = directory / "wire/3" / WARM_UP
    torn.write_bytes(torn.read_bytes()[:-1])
    config = directory / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "wire" base_path: "{directory}/wire" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )
    flags = ["--grpc_channel_arguments=grpc.max_connection_age_ms=60000"] if transport == "grpc.aio" else []
    socket = directory / "grpc.sock"
    process, address = start(
        None,
        f"--model_config_file={config}",
        "--max_num_load_retries=0",
        f"--ssl_config_file={write_ssl_config(directory, identity)}",
        "--grpc_socket_path",
        str(socket),
        "--enable_grpc_healthcheck_service",
        *flags,
    )
    return process, address, socket


@pytest.fixture
def client(server: tuple[Child, str, Path]) -> Iterator[Client]:
    """A client on the socket."""
    with Client(f"unix:{server[2]}") as client:
        yield client


def test_warm_up(server: tuple[Child, str, Path], client: Client) -> None:
    """A version serves after its warm-up; one whose records fail or are damaged does not."""
    assert client.states() == {1: "AVAILABLE", 2: "END", 3: "END"}
    server[0].wait_for("wire/1 answered 2 warm-up requests", TIMEOUT)
    server[0].wait_for("wire version 2 cannot be loaded: input tensor alias not found in signature: y.", TIMEOUT)
    server[0].wait_for("wire version 3 cannot be loaded: truncated record", TIMEOUT)
    np.testing.assert_array_equal(client.values(X)["y"], [[4]])


def test_no_warm_up(start: Start, tmp_path: Path) -> None:
    """The flag leaves warm-up out."""
    write_warm(tmp_path / "1", {"y": X["x"]})
    _, address = start(tmp_path, "--enable_model_warmup=false")
    with Client(address) as client:
        assert client.states() == {1: "AVAILABLE"}


def test_tls(server: tuple[Child, str, Path], identity: Identity) -> None:
    """The port speaks TLS with the certificate of the file."""
    with grpc.secure_channel(server[1], grpc.ssl_channel_credentials(identity.certificate)) as channel:
        response = PredictionServiceStub(channel).Predict(predict_request(X), timeout=TIMEOUT)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), [[4]])
    # On two addresses it is one server all the same, and on either transport.
    assert server[0].log.read_text().count("wire version 1 is available") == 1


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(server: tuple[Child, str, Path], service: str) -> None:
    """Every service is SERVING, as the model answers."""
    with grpc.insecure_channel(f"unix:{server[2]}") as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT)
    assert response.status == health_pb2.HealthCheckResponse.SERVING
