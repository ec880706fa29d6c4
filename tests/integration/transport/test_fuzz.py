"""Any bodies, headers and frames at a server inside Envoy: the right status, bounded memory, and a next call."""

import contextlib
import gzip
import itertools
import socket
import struct
import zlib
from collections.abc import Iterator

import h2.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.asgi_host import frame
from tests.fakes.transport_service import MAX_MESSAGE_BYTES
from tests.integration.conftest import TIMEOUT
from tests.integration.transport.conftest import Service
from tests.integration.transport.raw import Raw

# grpcio's own server is grpcio's to test.
pytestmark = pytest.mark.parametrize("service", ["envoy"], indirect=True)

OK, UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED = "0", "12", "13", "8"
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}
# Of a service that has had some hundred bad calls; a message that were gathered for its length alone would be 40 MB.
KILOBYTES = 24_000
FUZZ = settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture
def raw(service: Service) -> Iterator[Raw]:
    """A connection that all examples use: what one breaks, the next one finds."""
    before = service.resident_kilobytes()
    with contextlib.closing(Raw(service.address)) as raw:
        yield raw
    assert service.process.running
    assert service.resident_kilobytes() - before < KILOBYTES


MESSAGES = st.binary(max_size=64)
PREFIXES = st.builds(
    lambda flag, length: struct.pack(">BI", flag, length),
    st.sampled_from([0, 1, 2, 255]),
    st.sampled_from([0, 1, 2**16, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1, 2**31, 2**32 - 1]),
)
# Well-formed, compressed or said to be, with a prefix that lies, or nothing of the kind.
PIECES = (
    st.builds(frame, MESSAGES)
    | st.builds(lambda message, name: frame(PACKERS[name](message), 1), MESSAGES, st.sampled_from(sorted(PACKERS)))
    | st.builds(frame, MESSAGES, st.sampled_from([1, 2, 128]))
    | st.builds(lambda prefix, rest: prefix + rest, PREFIXES, st.binary(max_size=16))
    | st.binary(max_size=8)
)
BODIES = st.lists(PIECES, max_size=4).map(b"".join)
CUTS = st.lists(st.integers(0, 300), max_size=6)
ENCODINGS = st.sampled_from([None, "identity", "gzip", "deflate", "br", "gzip, deflate", ""])


def expected(body: bytes, encoding: str | None) -> tuple[list[bytes], str]:
    """The messages of a stream and the status that it ends with, read from the specification and slowly."""
    if encoding not in (None, "identity", *PACKERS):
        return [], UNIMPLEMENTED
    found: list[bytes] = []
    while body:
        prefix, body = body[:5], body[5:]
        flag, length = struct.unpack(">BI", prefix) if len(prefix) == 5 else (2, 0)
        if flag in ((0, 1) if encoding in PACKERS else (0,)) and length > MAX_MESSAGE_BYTES:
            return found, RESOURCE_EXHAUSTED
        message = unpacked(body[:length], encoding) if flag == 1 else body[:length]
        if flag > 1 or len(body) < length or message is None:
            return found, INTERNAL
        found.append(message)
        body = body[length:]
    return found, OK


def unpacked(message: bytes, encoding: str | None) -> bytes | None:
    """What is in a compressed message, None if that is none."""
    if encoding not in PACKERS:
        return None
    unpack = zlib.decompressobj(31 if encoding == "gzip" else 15)
    try:
        plain = unpack.decompress(message)
    except zlib.error:
        return None
    return plain if unpack.eof and not unpack.unused_data else None


def sent(raw: Raw, name: str, body: bytes, cuts: list[int], encoding: str | None) -> int:
    """A call whose body comes in parts."""
    # No empty ones but the last: HTTP/2 servers take several in a row for an attack.
    places = sorted({0, *(place % (len(body) + 1) for place in cuts), len(body)})
    stream = raw.call(name, end=False, grpc_encoding=encoding)
    with contextlib.suppress(h2.exceptions.ProtocolError):  # it has been answered, and closed
        for start, end in itertools.pairwise(places):
            raw.send(stream, body[start:end])
        raw.send(stream, b"", end=True)
    return stream


def test_streams(raw: Raw) -> None:
    """The whole messages that come before what is none are answered, and then the status says what is wrong."""

    @FUZZ
    @given(body=BODIES, cuts=CUTS, encoding=ENCODINGS)
    def check(body: bytes, cuts: list[int], encoding: str | None) -> None:
        response = raw.response(sent(raw, "Chat", body, cuts, encoding))
        messages, code = expected(body, encoding)
        assert response.body == b"".join(map(frame, messages))
        assert response.status["grpc-status"] == code

    check()


def test_single_requests(raw: Raw) -> None:
    """A method that takes one message is called with one, or it says what came instead."""

    @FUZZ
    @given(body=BODIES, cuts=CUTS, encoding=ENCODINGS)
    def check(body: bytes, cuts: list[int], encoding: str | None) -> None:
        response = raw.response(sent(raw, "Echo", body, cuts, encoding))
        messages, code = expected(body, encoding)
        if len(messages) == 1 and code == OK:
            assert response.body == frame(messages[0])
            assert response.status["grpc-status"] == OK
        else:
            assert response.body == b""
            # One that is followed by something else is several, whatever that is.
            assert response.status["grpc-status"] == (UNIMPLEMENTED if messages or code == OK else code)

    check()


def test_requests_that_are_left(service: Service, raw: Raw) -> None:
    """A client may reset a stream wherever it wants to, and its connection goes on."""

    @FUZZ
    @given(name=st.sampled_from(["Echo", "Chat", "Join", "Count", "Sleep", "SleepInStream"]), body=BODIES, cut=CUTS)
    def check(name: str, body: bytes, cut: list[int]) -> None:
        stream = raw.call(name, body[: sum(cut)], end=False)
        raw.flush()
        with contextlib.suppress(h2.exceptions.ProtocolError):
            raw.connection.reset_stream(stream, 8)
        raw.flush()

    check()
    assert raw.answer(raw.call("Echo", frame(b"x")))["grpc-status"] == OK


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~", min_size=1, max_size=12)
VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=24)
OURS = st.sampled_from(
    ["grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "x-bin", "te", "content-type", "x-forwarded-client-cert"]
)


def test_headers(raw: Raw) -> None:
    """Any headers that HTTP/2 takes are answered with a status; those that it does not take end their own stream."""

    @FUZZ
    @given(headers=st.lists(st.tuples(NAMES | OURS, VALUES), max_size=8))
    def check(headers: list[tuple[str, str]]) -> None:
        kept = [(name, value) for name, value in headers if name not in ("connection", "host")]
        status = raw.response(raw.request(name="Mirror", body=frame(b""), more=kept)).status
        assert "grpc-status" in status or status.get(":status") in ("400", "415") or "reset" in status, status

    check()


@pytest.mark.parametrize("many", [200, 2_000, 20_000])
def test_a_flood_of_headers(service: Service, many: int) -> None:
    """Many small headers are as bad as a large one."""
    with contextlib.closing(Raw(service.address)) as raw:
        flood = [(f"k{number}", "v") for number in range(many)]
        status = raw.answer(raw.request(name="Echo", body=frame(b"x"), more=flood))
    assert status.get("grpc-status") == OK if many == 200 else status.get("grpc-status") != OK


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


FLOODS = {
    "continuations": _frame(1, 0, 1, b"\x82") + _frame(9, 0, 1, b"\x00\x01a\x01b") * 200_000,
    "pings": _frame(6, 0, 0, bytes(8)) * 100_000,
    "settings": _frame(4, 0, 0, b"") * 100_000,
    "empty data": _frame(1, 4, 1, b"\x83\x86\x84\x41\x01x") + _frame(0, 0, 1, b"") * 100_000,
    "resets": b"".join(
        _frame(1, 5, stream, b"\x83\x86\x84\x41\x01x") + _frame(3, 0, stream, bytes(4))
        for stream in range(1, 40_001, 2)
    ),
    "priorities": _frame(2, 0, 1, bytes(5)) * 100_000,
    "unknown frames": _frame(200, 0, 0, bytes(16_384)) * 500,
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_of_frames(service: Service, name: str) -> None:
    """A connection that floods does not fill the memory: it is read and forgotten, or closed."""
    before = service.resident_kilobytes()
    with contextlib.closing(Raw(service.address)) as raw:
        raw.flush()
        raw._socket.settimeout(TIMEOUT)
        with contextlib.suppress(ConnectionError, TimeoutError):
            raw.raw(FLOODS[name])
        raw._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.closing(Raw(service.address)) as raw:
        assert raw.answer(raw.call("Echo", frame(b"x")))["grpc-status"] == OK
    assert service.resident_kilobytes() - before < KILOBYTES
