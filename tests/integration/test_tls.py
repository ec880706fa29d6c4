"""TLS on the gateway's ports: certificates that change, clients that show theirs, and no plain text elsewhere."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import yaml
from cryptography import x509

from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.fakes.tls import Identity, certificate
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually

REQUEST = pb.PredictRequest(model="digits", instances=[pb.Instance(image=digits.encode(digits.band(3)))])


def write(directory: Path, identity: Identity) -> tuple[str, str]:
    """The flags of a gateway with this identity, whose files are written."""
    key, chain = directory / "key.pem", directory / "certificate.pem"
    key.write_bytes(identity.key)
    chain.write_bytes(identity.certificate)
    return f"--tls.key-file={key}", f"--tls.certificate-file={chain}"


@contextlib.asynccontextmanager
async def stub(
    gateway: Gateway, server: Identity, client: Identity | None = None
) -> AsyncIterator[InferenceServiceStub]:
    """A connection of its own that trusts `server`."""
    credentials = grpc.ssl_channel_credentials(
        server.certificate, *((client.key, client.certificate) if client else ())
    )
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.secure_channel(gateway.address, credentials, options) as channel:
        yield InferenceServiceStub(channel)


async def code(stub: InferenceServiceStub, key: str | None = None) -> str:
    """How a prediction ends."""
    metadata = (("x-api-key", key),) if key else ()
    try:
        await stub.Predict(REQUEST, metadata=metadata, timeout=TIMEOUT)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_renewal(start_gateway: StartGateway, server: FakeModelServer, tmp_path: Path) -> None:
    """New connections get a renewed certificate, on both ports; old ones, and calls on them, go on."""
    first, second = certificate(), certificate()
    gateway = start_gateway(server.address, *write(tmp_path, first), "--tls.http")
    async with stub(gateway, first) as old:
        assert await code(old, gateway.key) == "OK"
        server.delay = 4.0
        in_flight = asyncio.create_task(code(old, gateway.key))
        await eventually(lambda: asyncio.sleep(0, len(server.batches) == 2))
        server.delay = 0.0
        # A key alone fits no certificate: what was there stays in force.
        (tmp_path / "key.pem").write_bytes(second.key)
        await eventually(lambda: asyncio.sleep(0, any("stay as they were" in line["event"] for line in gateway.log())))
        async with stub(gateway, first) as still:
            assert await code(still, gateway.key) == "OK"
        write(tmp_path, second)

        async def renewed() -> bool:
            async with stub(gateway, second) as new:
                return await code(new, gateway.key) == "OK"

        await eventually(renewed)
        assert await code(old, gateway.key) == "OK"
        assert not in_flight.done()
        assert await in_flight == "OK"
    async with stub(gateway, first) as outdated:
        assert await code(outdated, gateway.key) == "UNAVAILABLE"
    context = ssl.create_default_context(cadata=second.certificate.decode())
    with await asyncio.to_thread(
        urllib.request.urlopen, f"https://{gateway.http}/livez", None, 5, context=context
    ) as page:
        assert page.read() == b"ok\n"


async def test_client_certificates(
    start_gateway: StartGateway, server: FakeModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate stands for the client that the settings say, by its alternative names before its common name."""
    own = certificate()
    spiffe = x509.UniformResourceIdentifier("spiffe://test/batch")
    clients = {
        "by URI": (certificate("anybody", spiffe), "OK"),
        "by DNS name": (certificate("whoever", x509.DNSName("web.test")), "PERMISSION_DENIED"),
        "by common name": (certificate("old-service"), "OK"),
        "common name beside others": (certificate("older-service", x509.DNSName("x.test")), "UNAUTHENTICATED"),
        "unknown": (certificate("stranger"), "UNAUTHENTICATED"),
    }
    (tmp_path / "ca.pem").write_bytes(b"".join(client.certificate for client, _ in clients.values()))
    settings = {
        spiffe.value: {"client": "batch"},
        "web.test": {"client": "web", "scopes": ["predict:cats"]},
        "old-service": {"client": "old", "scopes": ["predict:digits"]},
        "older-service": {"client": "older"},
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({"auth": {"certificates": settings}}))
    monkeypatch.setenv("TENSORGATE_CONFIG", str(file))
    gateway = start_gateway(server.address, *write(tmp_path, own), f"--tls.client-ca-file={tmp_path / 'ca.pem'}")
    for name, (client, expected) in clients.items():
        async with stub(gateway, own, client) as connection:
            assert await code(connection) == expected, name
            # A key counts before the certificate.
            assert await code(connection, gateway.key) == "OK", name
            assert await code(connection, "tg_0_0") == "UNAUTHENTICATED", name
    for stranger in (None, certificate("old-service")):
        async with stub(gateway, own, stranger) as connection:
            assert await code(connection, gateway.key) == "UNAVAILABLE"
    assert {"batch", "web", "old", "tester"} <= {line["client"] for line in gateway.calls()}


def test_unusable(tmp_path: Path, transport: str) -> None:
    """A certificate that is none ends the start with one clear line."""
    flags = write(tmp_path, Identity(b"no key", b"no certificate"))
    command = [sys.executable, "-m", "gateway", "--models=digits", "--no-auth.enabled", f"--transport={transport}"]
    ended = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("gateway: certificate and key cannot be used")


async def test_plaintext_anywhere(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """Where something in front ends TLS, the gateway listens in plain text on every address if told so."""
    gateway = start_gateway(server.address, "--listen=0.0.0.0:0", "--tls.plaintext-anywhere")
    async with grpc.aio.insecure_channel(gateway.address.replace("0.0.0.0", "127.0.0.1")) as channel:
        assert await code(InferenceServiceStub(channel), gateway.key) == "OK"
