"""Clients that mean harm, or know no better: each is answered as the specifications say, and the process stays up."""

import asyncio
import contextlib
import http.client
import socket
import struct

import grpc.aio
import pytest

from serving.transport.addresses import AddressTakenError
from tests.fakes.asgi_host import frame
from tests.fakes.transport_service import MAX_HEADER_BYTES, SERVICE
from tests.integration.conftest import TIMEOUT, eventually
from tests.integration.transport.conftest import Service, is_cancelled, method
from tests.integration.transport.raw import Raw

# grpcio's own server is grpcio's to test.
pytestmark = pytest.mark.parametrize("service", ["envoy"], indirect=True)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (frame(b"fine"), {}, "0"),
        (b"\0\0", {}, "13"),
        (frame(b"abc")[:-1], {}, "13"),
        (frame(b"a") + frame(b"b"), {}, "12"),
        (struct.pack(">BI", 0, 2**32 - 1), {}, "8"),
        (frame(b"x", 1), {}, "13"),
        (frame(b"x", 7), {}, "13"),
        (frame(b"x", 1), {"grpc_encoding": "br"}, "12"),
        (frame(b"no gzip", 1), {"grpc_encoding": "gzip"}, "13"),
    ],
)
def test_hostile_frames(service: Service, body: bytes, headers: dict[str, str], code: str) -> None:
    """A request that breaks the rules ends with the status for it, and the connection serves the next."""
    with contextlib.closing(Raw(service.address)) as raw:
        answer = raw.answer(raw.call("Echo", body, **headers))
        assert answer["grpc-status"] == code
        assert raw.answer(raw.call("Echo", frame(b"next")))["grpc-status"] == "0"


def test_a_large_length_is_refused_unread(service: Service) -> None:
    """Four gigabytes that are announced are refused while the client still has all of them to send."""
    with contextlib.closing(Raw(service.address)) as raw:
        answer = raw.answer(raw.call("Echo", struct.pack(">BI", 0, 2**32 - 1), end=False))
        assert answer.get("grpc-status") == "8"


def test_hostile_headers(service: Service) -> None:
    """More headers than are allowed are refused by HTTP/2, and the service goes on."""
    with contextlib.closing(Raw(service.address)) as raw:
        answer = raw.answer(raw.call("Echo", frame(b"x"), flood="x" * 3 * MAX_HEADER_BYTES))
    assert answer.get(":status") == "431" or answer.keys() & {"reset", "goaway", "closed"}
    with contextlib.closing(Raw(service.address)) as raw:
        assert raw.answer(raw.call("Echo", frame(b"x")))["grpc-status"] == "0"


def test_no_grpc(service: Service) -> None:
    """What is no gRPC is told so by HTTP: wrong content-type, wrong verb, HTTP/1.1."""
    with contextlib.closing(Raw(service.address)) as raw:
        wrong = raw.answer(raw.call("Echo", b"{}", content_type="application/json"))
        assert wrong[":status"] == "415"
        assert raw.answer(raw.call("Echo", **{":method": "GET"}))[":status"] == "405"
    host, _, port = service.address.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT) as plain:
        plain.sendall(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n")
        heard = plain.recv(1000)
    assert heard.startswith(b"HTTP/1.1 505")


@pytest.mark.parametrize(("name", "status"), [("Echo", b"grpc-status:0"), ("Nothing", None)])
def test_grpc_web(service: Service, name: str, status: bytes | None) -> None:
    """A browser's call by HTTP/1.1 is answered in its own words: the trailers are the last of the body."""
    connection = http.client.HTTPConnection(service.address, timeout=TIMEOUT)
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    connection.request("POST", f"/{SERVICE}/{name}", frame(b"hello"), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200
    assert response.getheader("content-type") == "application/grpc-web+proto"
    if status is None:
        assert response.getheader("grpc-status") == "12"
    else:
        assert body.startswith(frame(b"hello") + b"\x80")
        assert status in body


async def test_a_connection_that_breaks(service: Service) -> None:
    """Every call of a connection that breaks is cancelled."""
    raw = Raw(service.address)
    for number in range(20):
        raw.call("Sleep", frame(b"broken%d" % number))
    raw.flush()
    await asyncio.sleep(0.2)
    raw.close()
    async with grpc.aio.insecure_channel(service.address) as channel:
        for number in range(20):
            await eventually(lambda number=number: is_cancelled(channel, f"broken{number}"))


async def test_a_storm(service: Service) -> None:
    """Connections that come, call, and vanish in the middle of it leave a service that serves, and no memory behind."""

    async def storm() -> None:
        def one() -> None:
            raw = Raw(service.address)
            streams = [raw.call(name, frame(b"x")[:5], end=False) for name in ("Echo", "Chat", "Sum", "Count")]
            raw.connection.reset_stream(streams[1])
            raw.flush()
            raw.close()

        await asyncio.gather(*(asyncio.to_thread(one) for _ in range(100)))

    async with grpc.aio.insecure_channel(service.address) as channel:
        await storm()
        before = service.resident_kilobytes()
        for _ in range(3):
            await storm()
        assert await method(channel, "Echo")(b"still here", timeout=TIMEOUT) == b"still here"
    assert service.resident_kilobytes() - before < 20_000


def test_the_port_is_not_shared(service: Service) -> None:
    """A second server on the same port is refused."""
    # Not importable where pyvoy is not.
    from serving.transport.envoy.launch import listener  # noqa: PLC0415

    with pytest.raises(AddressTakenError, match="cannot listen on"):
        listener(service.address)
