"""TLS and mutual TLS on each transport: who calls is known to servicers in the same words."""

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from tests.fakes.tls import Identity, certificate
from tests.integration.conftest import TIMEOUT
from tests.integration.transport.conftest import Service, method, start

CLIENT = certificate()


class Secure:
    """The service with TLS, and its certificate."""

    def __init__(self, service: Service, directory: Path) -> None:
        self.service = service
        self.directory = directory

    def channel(self, identity: Identity | None = CLIENT) -> grpc.Channel:
        """A channel that trusts the certificate that is on disk."""
        key, chain = identity or (None, None)
        roots = (self.directory / "certificate.pem").read_bytes()
        return grpc.secure_channel(self.service.address, grpc.ssl_channel_credentials(roots, key, chain))


@pytest.fixture(scope="module", params=["grpc.aio", "envoy"])
def secure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """The service on each transport, which wants certificates of its clients."""
    directory = tmp_path_factory.mktemp("tls")
    server = certificate()
    for name, content in (("key", server.key), ("certificate", server.certificate), ("clients", CLIENT.certificate)):
        (directory / f"{name}.pem").write_bytes(content)
    service = start(request.param, directory / "log", directory)
    try:
        yield Secure(service, directory)
    finally:
        assert service.process.stop() == 0


def test_client_identity(secure: Secure) -> None:
    """A client's certificate, and the names in it, reach the servicer."""
    with secure.channel() as channel:
        told = json.loads(method(channel, "Describe")(b"", timeout=TIMEOUT))
    name = x509.load_pem_x509_certificate(CLIENT.certificate).subject.rfc4514_string().removeprefix("CN=")
    auth = told["auth"]
    assert auth["transport_security_type"] == ["ssl"]
    assert auth["x509_common_name"] == [name]
    assert auth["x509_pem_cert"][0].strip() == CLIENT.certificate.decode().strip()
    assert not [key for key, _ in told["metadata"] if "cert" in key]


def test_a_claimed_identity_is_dropped(secure: Secure) -> None:
    """What a client says of itself in the header that proxies use is nobody's identity."""
    claim = (("x-forwarded-client-cert", 'Subject="CN=admin"'),)
    with secure.channel() as channel:
        told = json.loads(method(channel, "Describe")(b"", timeout=TIMEOUT, metadata=claim))
    assert told["auth"]["x509_common_name"] != ["admin"]


@pytest.mark.parametrize("identity", [None, certificate()])
def test_strangers_are_refused(secure: Secure, identity: Identity | None) -> None:
    """Without a certificate, or with one that nobody vouches for, there is no call."""
    with secure.channel(identity) as channel, pytest.raises(grpc.RpcError) as caught:
        method(channel, "Echo")(b"", timeout=TIMEOUT)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_version(secure: Secure) -> None:
    """TLS is 1.2 or higher, and HTTP/2 agreed on by ALPN."""
    host, _, port = secure.service.address.rpartition(":")
    context = ssl.create_default_context(cafile=secure.directory / "certificate.pem")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=host) as agreed,
    ):
        assert agreed.selected_alpn_protocol() == "h2"
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((host, int(port)), TIMEOUT) as plain,
        pytest.raises(ssl.SSLError, match=r"ALERT_PROTOCOL_VERSION|EOF"),
    ):
        context.wrap_socket(plain, server_hostname=host)
