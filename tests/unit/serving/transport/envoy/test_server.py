"""serving.transport.envoy.server"""

import grpc
import pytest

from serving.transport.addresses import AddressTakenError
from serving.transport.envoy import host
from serving.transport.envoy.host import Host
from serving.transport.envoy.launched import Launched
from serving.transport.envoy.server import EnvoyServer
from tests.fakes.tls import certificate

PLAIN, ENCRYPTED = "127.0.0.1:0", "[::1]:0"


@pytest.fixture
def server() -> EnvoyServer:
    """A server of a program for which Envoy listens on two addresses."""

    async def program(_arguments: list[str]) -> int:
        return 0

    running = Host(program)
    running._launched = Launched([], {PLAIN: 1, ENCRYPTED: 2}, [ENCRYPTED], "/nowhere")
    token = host._current.set(running)
    try:
        return EnvoyServer([])
    finally:
        host._current.reset(token)


def test_bind(server: EnvoyServer) -> None:
    """Addresses have the ports that Envoy has for them; others are refused."""
    credentials = grpc.ssl_server_credentials([certificate()])
    assert (server.bind(PLAIN), server.bind(ENCRYPTED, credentials)) == (1, 2)
    with pytest.raises(AddressTakenError, match=r"not told to listen on 127\.0\.0\.1:9"):
        server.bind("127.0.0.1:9")


def test_tls_is_as_launched(server: EnvoyServer) -> None:
    """A port is never in plain text where TLS is asked for, nor the reverse."""
    with pytest.raises(AddressTakenError, match="with TLS"):
        server.bind(PLAIN, grpc.ssl_server_credentials([certificate()]))
    with pytest.raises(AddressTakenError, match="in plain text"):
        server.bind(ENCRYPTED)


def test_outside() -> None:
    """There is no such server but inside Envoy."""
    with pytest.raises(LookupError):
        EnvoyServer([])
