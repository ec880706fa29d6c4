"""serving.embedded.server, health and credentials: ways in and out, over real ports with fake models."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.embedded.text_proto import ConfigFileError
from serving.transport.addresses import AddressTakenError
from serving.wire import tensorflow_serving_pb2 as tfs
from tests.fakes.tls import certificate, write_ssl_config
from tests.unit.serving.embedded.fakes import TIMEOUT, FakeLoader, eventually, publish
from tests.unit.serving.embedded.running import Server, fails, reload_request


async def health(server: Server, service: str = "") -> str:
    """The state of a service by name."""
    request = health_pb2.HealthCheckRequest(service=service)
    response = await health_pb2_grpc.HealthStub(server.channel).Check(request, timeout=TIMEOUT)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


async def test_health(start: Callable[..., Any], base: Path, tmp_path: Path) -> None:
    """The server is SERVING while every model that is configured answers, and changes are told to who watches."""
    async with start(enable_grpc_healthcheck_service=True) as server:
        assert [await health(server, name) for name in ("", "PredictionService", "ModelService")] == ["SERVING"] * 3
        assert (await fails(health(server, "other")))[0] == "NOT_FOUND"
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        told = aiter(watch)
        assert (await anext(told)).status == health_pb2.HealthCheckResponse.SERVING
        call = server.models.HandleReloadConfigRequest(reload_request(m=base, n=tmp_path / "n"), timeout=TIMEOUT)
        assert (await fails(call))[0] == "UNKNOWN"
        assert (await anext(told)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert [await health(server, name) for name in ("PredictionService", "ModelService")] == [
            "NOT_SERVING",
            "SERVING",
        ]
        publish(tmp_path / "n", "1")
        assert (await anext(told)).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_health_before_the_first_version(start: Callable[..., Any], tmp_path: Path) -> None:
    """A server that has nothing to answer with is not SERVING."""
    async with start(model_base_path=tmp_path / "later", enable_grpc_healthcheck_service=True) as server:
        assert await health(server) == "NOT_SERVING"


async def test_health_while_draining(
    start: Callable[..., Any], load: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    """Who watches is told when the server begins to drain, and let go before it ends."""
    async with start(enable_grpc_healthcheck_service=True) as server:
        load.servables[1].gate.clear()
        call = asyncio.create_task(server.predict())
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        told = aiter(watch)
        assert (await anext(told)).status == health_pb2.HealthCheckResponse.SERVING
        await eventually(lambda: load.servables[1].running)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await anext(told)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert [answer async for answer in told] == []
        load.servables[1].gate.set()
        await call


async def test_no_health_by_default(start: Callable[..., Any]) -> None:
    """Without the flag there is no health service."""
    async with start() as server:
        assert (await fails(health(server)))[0] == "UNIMPLEMENTED"


async def test_socket(start: Callable[..., Any], tmp_path: Path) -> None:
    """A Unix socket serves beside the port."""
    async with start(grpc_socket_path=str(tmp_path / "grpc.sock")) as server:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
            await Server(server.task, "", channel).predict()
        await server.predict()


async def test_channel_arguments(start: Callable[..., Any]) -> None:
    """Settings of gRPC reach the server, and win over the server's."""
    async with start(grpc_channel_arguments=(("grpc.max_receive_message_length", 10),)) as server:
        assert (await fails(server.predict()))[0] == "RESOURCE_EXHAUSTED"


async def tls_predict(address: str, credentials: grpc.ChannelCredentials) -> None:
    """A call over TLS."""
    async with grpc.aio.secure_channel(address, credentials) as channel:
        await Server(asyncio.current_task(), address, channel).predict()


async def test_tls(start: Callable[..., Any], tmp_path: Path) -> None:
    """With a key and a certificate the port speaks TLS alone."""
    tls = certificate()
    file = write_ssl_config(tmp_path, tls)
    async with start(ssl_config_file=file) as server:
        await tls_predict(server.address, grpc.ssl_channel_credentials(tls.certificate))
        assert (await fails(server.predict()))[0] == "UNAVAILABLE"


async def test_client_certificates(start: Callable[..., Any], tmp_path: Path) -> None:
    """With client_verify a client needs a certificate that custom_ca signed."""
    tls, client, stranger = certificate(), certificate(), certificate()
    file = write_ssl_config(tmp_path, tls, custom_ca=client.certificate.decode(), client_verify=True)
    async with start(ssl_config_file=file) as server:
        await tls_predict(server.address, grpc.ssl_channel_credentials(tls.certificate, client.key, client.certificate))
        for credentials in (
            grpc.ssl_channel_credentials(tls.certificate),
            grpc.ssl_channel_credentials(tls.certificate, stranger.key, stranger.certificate),
        ):
            assert (await fails(tls_predict(server.address, credentials)))[0] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "server_key and server_cert are required"),
        ({"server_key": "k", "server_cert": "c", "client_verify": True}, "client_verify needs custom_ca"),
    ],
)
async def test_incomplete_tls(start: Callable[..., Any], tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    """A TLS configuration that lacks a part is an error that names the file."""
    file = tmp_path / "ssl.config"
    file.write_text(text_format.MessageToString(tfs.SSLConfig(**fields)))
    with pytest.raises(ConfigFileError, match=f"{file}: {problem}"):
        await start(ssl_config_file=file).__aenter__()


async def test_wrong_key(start: Callable[..., Any], tmp_path: Path) -> None:
    """A key that is none is an error at start."""
    file = write_ssl_config(tmp_path, certificate()._replace(key=b"key"))
    with pytest.raises(AddressTakenError, match="key and certificate do not fit"):
        await start(ssl_config_file=file).__aenter__()


async def test_drain(start: Callable[..., Any], load: FakeLoader, caplog: pytest.LogCaptureFixture) -> None:
    """After SIGTERM new calls are refused, those in flight finish, and the server ends."""
    async with start() as server:
        load.servables[1].gate.clear()
        call = asyncio.create_task(server.predict())
        await eventually(lambda: load.servables[1].running)
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: "stopping" in caplog.text)
        assert (await fails(server.predict()))[0] == "UNAVAILABLE"
        assert not server.task.done()
        load.servables[1].gate.set()
        assert (await call).outputs["y"].float_val == [2]
        await asyncio.wait_for(server.task, TIMEOUT)


async def test_taken_port(start: Callable[..., Any]) -> None:
    """A port that another has is an error, although gRPC would share it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTakenError, match=f"cannot listen on 127.0.0.1:{port}"):
            await start(port=port).__aenter__()
