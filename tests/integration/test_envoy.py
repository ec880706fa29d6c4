"""What a gateway has inside Envoy alone: Envoy's own pages and metrics."""

import http.client
from collections.abc import Iterator

import pytest

from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.fakes.promtool import problems
from tests.integration.conftest import TIMEOUT, Gateway, eventually, gateways

pytestmark = pytest.mark.parametrize("transport", ["envoy"], indirect=True)
PNG = digits.encode(digits.band(3))


@pytest.fixture(scope="module")
def pages(
    shared_server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[Gateway]:
    """A gateway that shows Envoy's pages."""
    with gateways(tmp_path_factory.mktemp("gateway"), transport) as start:
        yield start(shared_server.address, "--envoy.admin=127.0.0.1:0")


def _address(gateway: Gateway) -> str:
    (line,) = [line for line in gateway.log() if line["event"] == "serving"]
    address: str = line["envoy"]
    return address


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/stats/prometheus", "localhost:1", 200),
        ("GET", "/stats", "[::1]", 200),
        ("POST", "/quitquitquit", "localhost", 405),
        ("GET", "/quitquitquit", "localhost", 405),
        ("POST", "/logging?level=trace", "localhost", 405),
        # A name that a stranger's page may have bound to this address.
        ("GET", "/stats", "example.org", 404),
    ],
)
def test_pages(pages: Gateway, method: str, path: str, host: str, status: int) -> None:
    """Envoy's pages can be read, by who is on this machine, and nothing can be done there."""
    connection = http.client.HTTPConnection(_address(pages), timeout=TIMEOUT)
    connection.request(method, path, headers={"host": host})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == status
    if status == 200:
        assert b"downstream_cx_active" in text
    assert pages.process.running


async def test_metrics(pages: Gateway) -> None:
    """Envoy's figures are among the gateway's."""

    async def counted() -> bool:
        text = pages.get("/metrics")[1]
        return "\nenvoy_http_downstream_cx_active 1.0" in text and "\nenvoy_server_memory_allocated" in text

    async with pages.client() as client:
        await client.predict(PNG)
        await eventually(counted)
    assert problems(pages.get("/metrics")[1]) == []
