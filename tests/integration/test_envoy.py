"""What a gateway has inside Envoy alone: Envoy's own pages and metrics, and gRPC-Web."""

import base64
import http.client
import struct
from collections.abc import Iterator

import grpc
import pytest

from tensorgate.requests import predict_request
from tensorgate.v1 import inference_service_pb2 as pb
from tests.fakes import digits
from tests.fakes.asgi_host import frame
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


def web_call(gateway: Gateway, key: str, *, text: bool) -> tuple[list[bytes], dict[str, str]]:
    """A prediction by gRPC-Web, as browsers make it: the messages of the answer and its trailers."""
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    body = frame(predict_request([PNG], model="digits", version=0, signature="", top_k=0).SerializeToString())
    connection = http.client.HTTPConnection(gateway.address, timeout=TIMEOUT)
    headers = {"content-type": kind, "accept": kind, "x-grpc-web": "1", "authorization": f"Bearer {key}"}
    connection.request(
        "POST", "/tensorgate.v1.InferenceService/Predict", base64.b64encode(body) if text else body, headers
    )
    answer = connection.getresponse()
    read = answer.read()
    if text:
        # Parts that are padded each by itself.
        read = b"".join(base64.b64decode(read[start : start + 4]) for start in range(0, len(read), 4))
    connection.close()
    assert answer.status == 200
    trailers = {key.lower(): value for key, value in answer.getheaders()}
    messages = []
    while read:
        flag, length = struct.unpack_from(">BI", read)
        part, read = read[5 : 5 + length], read[5 + length :]
        if flag & 0x80:
            trailers |= dict(line.split(":", 1) for line in part.decode().splitlines())
        else:
            messages.append(part)
    return messages, trailers


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_grpc_web(pages: Gateway, text: bool) -> None:
    """A page in a browser predicts, and is told what is wrong."""
    (message,), trailers = web_call(pages, pages.key, text=text)
    assert trailers["grpc-status"] == "0"
    assert pb.PredictResponse.FromString(message).predictions[0].classification.label == "3"
    messages, trailers = web_call(pages, "tg_0_0", text=text)
    assert (messages, trailers["grpc-status"]) == ([], str(grpc.StatusCode.UNAUTHENTICATED.value[0]))
