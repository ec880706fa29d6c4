"""What "gRPC over HTTP/2" (grpc/grpc, doc/PROTOCOL-HTTP2.md, doc/compression.md) asks of servers, in its order.

A test's docstring states the rule. What is asked of clients alone is left out: statuses made of HTTP's and of resets,
the limits of what they take, user agents, retries. In one place the server differs: a call whose deadline has passed
ends with DEADLINE_EXCEEDED and not with a reset, so that the caller learns why. TLS is in test_tls.
"""

import asyncio
import base64
import contextlib
import gzip
import json
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from tests.fakes.asgi_host import frame
from tests.fakes.transport_service import MAX_HEADER_BYTES, SERVICE
from tests.integration.conftest import TIMEOUT, eventually
from tests.integration.transport.conftest import Service, is_cancelled, start
from tests.integration.transport.raw import Raw, Response

# grpcio's own server is grpcio's to test.
pytestmark = pytest.mark.parametrize("service", ["envoy"], indirect=True)


@pytest.fixture
def raw(service: Service) -> Iterator[Raw]:
    """A connection."""
    with contextlib.closing(Raw(service.address)) as raw:
        yield raw


def ok(response: Response) -> Response:
    """The response, which must be a good one."""
    assert response.end == "trailers", response
    assert ("grpc-status", "0") in response.trailers
    return response


def echoed(response: Response) -> bytes:
    """The message of a good response, as it came."""
    return ok(response).body[5:]


# Requests.


def test_request_and_response(raw: Raw) -> None:
    """Response-Headers with status 200 and the content-type, messages, Trailers with Status and END_STREAM."""
    response = ok(raw.response(raw.call("Echo", frame(b"hello"))))
    assert dict(response.headers)[":status"] == "200"
    assert dict(response.headers)["content-type"].startswith("application/grpc")
    assert "grpc-status" not in dict(response.headers)
    assert response.body == frame(b"hello")


def test_path_is_case_sensitive(raw: Raw) -> None:
    """Path is `/` Service-Name `/` method name, and case-sensitive."""
    for path in (f"/{SERVICE}/echo", f"/{SERVICE.lower()}/Echo", f"/{SERVICE}/Echo/", f"/{SERVICE}", "/"):
        assert raw.response(raw.request({":path": path}, body=frame(b"x"))).status["grpc-status"] == "12", path


def test_te(raw: Raw) -> None:
    """TE is the transport's, and no metadata."""
    told = json.loads(echoed(raw.response(raw.call("Describe", frame(b"")))))
    assert "te" not in dict(told["metadata"])


@pytest.mark.parametrize(
    "unit", [("1H", 3600), ("2M", 120), ("99999999S", 99_999_999), ("30000m", 30), ("5000000u", 5)]
)
def test_timeout(raw: Raw, unit: tuple[str, float]) -> None:
    """Timeout is up to 8 digits and a unit."""
    text, seconds = unit
    told = json.loads(echoed(raw.response(raw.call("Describe", frame(b""), grpc_timeout=text))))
    assert seconds / 2 < told["time_remaining"] <= seconds


def test_no_timeout(raw: Raw) -> None:
    """Without Timeout a server assumes an infinite one."""
    assert json.loads(echoed(raw.response(raw.call("Describe", frame(b"")))))["time_remaining"] is None


def test_deadline(raw: Raw) -> None:
    """The server tracks the deadline, and cancels a call by itself when it has passed."""
    started = time.monotonic()
    assert raw.answer(raw.call("Sleep", frame(b"tracked"), grpc_timeout="200m"))["grpc-status"] == "4"
    assert time.monotonic() - started < TIMEOUT / 2
    assert "tracked" in json.loads(echoed(raw.response(raw.call("Cancelled", frame(b"")))))


@pytest.mark.parametrize(
    "kind", ["application/grpc", "application/grpc+proto", "application/grpc+x", "application/grpc;a=b"]
)
def test_content_type(raw: Raw, kind: str) -> None:
    """Content-Type is application/grpc, with or without what the messages are."""
    assert echoed(raw.response(raw.call("Echo", frame(b"x"), content_type=kind))) == b"x"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/grpcish", None])
def test_other_content_types(raw: Raw, kind: str | None) -> None:
    """Another Content-Type is answered with HTTP's 415, so that nobody takes it for success."""
    assert raw.answer(raw.call("Echo", frame(b"x"), content_type=kind))[":status"] == "415"


def test_metadata_order(raw: Raw) -> None:
    """Values of a repeated name keep their order."""
    sent = [("k", "1"), ("other", "x"), ("k", "2"), ("k", "3")]
    response = ok(raw.response(raw.request(name="Mirror", body=frame(b""), more=sent)))
    values = [value for key, value in response.trailers if key == "k"]
    assert ",".join(values).replace(" ", "") == "1,2,3"


@pytest.mark.parametrize("joined", [True, False])
def test_binary_metadata(raw: Raw, joined: bool) -> None:
    """Binary-Header is base64, padded or not, split on commas before it is decoded, and sent without padding."""
    values = [b"\0", b"\xff\xfe", b"abc", b""]
    padded = [base64.b64encode(value).decode() for value in values]
    texts = [text if number % 2 else text.rstrip("=") for number, text in enumerate(padded)]
    more = [("b-bin", ",".join(texts))] if joined else [("b-bin", text) for text in texts]
    response = ok(raw.response(raw.request(name="Mirror", body=frame(b""), more=more)))
    returned = ",".join(value for key, value in response.trailers if key == "b-bin").replace(" ", "").split(",")
    assert returned == [text.rstrip("=") for text in padded]


@pytest.mark.parametrize("value", ["é", "tab\tin it", "\x7fÿ", "  spaces  ", ""])
def test_values_of_http(raw: Raw, value: str) -> None:
    """A value that is HTTP's and not gRPC's is no error, nor is it one to send back what the call came with."""
    more = [("odd", value.encode().decode("latin-1")), ("even", "2")]
    response = raw.response(raw.request(name="Mirror", body=frame(b""), more=more))
    if response.end == "trailers":
        assert ("even", "2") in ok(response).trailers
    else:
        # HTTP's own to refuse.
        assert "\x7f" in value


def test_header_names_of_http(raw: Raw) -> None:
    """So with a name that HTTP allows and gRPC does not."""
    response = ok(raw.response(raw.request(name="Mirror", body=frame(b""), more=[("o!d~d", "1"), ("even", "2")])))
    assert ("even", "2") in response.trailers


def test_header_size(raw: Raw) -> None:
    """Servers may limit the size of Request-Headers; a call within it passes, one beyond is refused."""
    within = "x" * (MAX_HEADER_BYTES - 1024)
    assert echoed(raw.response(raw.call("Echo", frame(b"x"), much=within))) == b"x"
    assert raw.answer(raw.call("Echo", frame(b"x"), much="x" * 2 * MAX_HEADER_BYTES)).get("grpc-status") != "0"


# Messages.


def test_alignment(raw: Raw) -> None:
    """DATA frames have nothing to do with messages: one may hold several, and a message may be spread over many."""
    sent = [b"", b"a", b"bc" * 50]
    body = b"".join(map(frame, sent))
    whole = raw.response(raw.call("Chat", body))
    stream = raw.call("Chat", end=False)
    for place in range(len(body)):
        raw.send(stream, body[place : place + 1])
    raw.send(stream, b"", end=True)
    assert ok(whole).body == ok(raw.response(stream)).body == body


def test_padding_is_no_data(raw: Raw) -> None:
    """HTTP/2's padding of a DATA frame is none of a message's."""
    stream = raw.call("Echo", end=False)
    raw.connection.send_data(stream, frame(b"x"), end_stream=True, pad_length=100)
    assert echoed(raw.response(stream)) == b"x"


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_messages(raw: Raw, encoding: str, pack: object) -> None:
    """Compressed-Flag 1 is a message compressed by Message-Encoding, each by itself; 0 is one that is not."""
    assert callable(pack)
    body = frame(pack(b"one"), 1) + frame(b"two") + frame(pack(b"three"), 1)
    assert ok(raw.response(raw.call("Chat", body, grpc_encoding=encoding))).body == b"".join(
        map(frame, (b"one", b"two", b"three"))
    )


def test_a_flag_without_an_encoding(raw: Raw) -> None:
    """Without Message-Encoding, or with identity, Compressed-Flag must be 0; else INTERNAL, and the text says so."""
    for encoding in (None, "identity"):
        answer = raw.answer(raw.call("Echo", frame(b"x", 1), grpc_encoding=encoding))
        assert answer["grpc-status"] == "13"
        assert "compressed" in answer["grpc-message"]


def test_unknown_encoding(raw: Raw) -> None:
    """An encoding that the server has not is UNIMPLEMENTED; the answer names those that it has, and not this one."""
    answer = raw.answer(raw.call("Echo", frame(b"x", 1), grpc_encoding="snappy"))
    assert answer["grpc-status"] == "12"
    accepted = [name.strip() for name in answer["grpc-accept-encoding"].split(",")]
    assert set(accepted) == {"identity", "gzip", "deflate"}
    assert all(name in answer["grpc-message"] for name in accepted)


@pytest.mark.parametrize(
    ("accepted", "compressed"), [("gzip, identity", True), ("identity,deflate", False), (None, False)]
)
def test_compressed_answers(raw: Raw, accepted: str | None, compressed: bool) -> None:
    """A response is compressed only as its caller takes it, and sent as it is otherwise."""
    stream = raw.call("Echo", frame(b"x" * 100), compress="1", grpc_accept_encoding=accepted)
    response = ok(raw.response(stream))
    assert (dict(response.headers).get("grpc-encoding", "identity") == "gzip") == compressed
    assert response.body[0] == compressed
    assert (gzip.decompress(response.body[5:]) if compressed else response.body[5:]) == b"x" * 100


def test_end_of_stream(raw: Raw) -> None:
    """EOS is END_STREAM on the last DATA frame, which may be empty."""
    for last in (b"", frame(b"2")):
        stream = raw.call("Join", end=False)
        raw.send(stream, frame(b"1"))
        raw.send(stream, last, end=True)
        assert echoed(raw.response(stream)) == (b"1,2" if last else b"1")


@pytest.mark.parametrize("body", [b"", frame(b"a") + frame(b"b")], ids=["none", "two"])
def test_one_message(raw: Raw, body: bytes) -> None:
    """A method that takes one message gets one: none or two are UNIMPLEMENTED."""
    assert raw.answer(raw.call("Echo", body))["grpc-status"] == "12"


# Responses.


def test_trailers_only(raw: Raw) -> None:
    """An immediate error is one block of headers, with HTTP's status, the content-type, Status, and END_STREAM."""
    response = raw.response(raw.call("Nothing", frame(b"x")))
    assert (response.end, response.body, response.trailers) == ("headers", b"", [])
    headers = dict(response.headers)
    assert (headers[":status"], headers["content-type"], headers["grpc-status"]) == ("200", "application/grpc", "12")


def test_status_message(raw: Raw) -> None:
    """Status has no leading zeros; Status-Message is UTF-8, percent-encoded but for printable ASCII."""
    response = raw.response(raw.call("Fail", frame(b"why")))
    found = response.status
    assert found["grpc-status"] == "9"
    assert found["grpc-message"] == "100%25 gr%C3%B6%C3%9Fer%0Aas it was"
    # What a client may rely on: a status in the details does not contradict the one beside it.
    details = found["grpc-status-details-bin"]
    assert base64.b64decode(details + "=" * (-len(details) % 4))[:2] == b"\x08\x09"


def test_an_error_after_messages(raw: Raw) -> None:
    """An error after the first message is in Trailers."""
    response = raw.response(raw.call("Chat", frame(b"fine") + b"\7\0\0\0\0"))
    assert (response.body, response.end) == (frame(b"fine"), "trailers")
    assert dict(response.trailers)["grpc-status"] == "13"


# Transport.


def test_streams_are_calls(raw: Raw) -> None:
    """A stream is a call: answers come in any order, and one that is reset does not disturb the others."""
    first, second, third = (raw.call("Chat", end=False) for _ in range(3))
    raw.send(first, frame(b"1"))
    raw.connection.reset_stream(second)
    raw.send(third, frame(b"3"), end=True)
    assert ok(raw.response(third)).body == frame(b"3")
    raw.send(first, b"", end=True)
    assert ok(raw.response(first)).body == frame(b"1")


def test_early_end(raw: Raw) -> None:
    """A server that answers before the client's END_STREAM resets the stream with NO_ERROR."""
    stream = raw.call("Echo", b"\7\0\0\0\0", end=False)
    response = raw.response(stream)
    assert response.status["grpc-status"] == "13"
    raw.until(lambda: response.reset is not None)
    assert response.reset == 0


@pytest.mark.parametrize("name", ["Sleep", "SleepInStream"])
async def test_cancellation(service: Service, name: str) -> None:
    """A client cancels by a reset; the call is then cancelled at the server."""
    with contextlib.closing(Raw(service.address)) as raw:
        stream = raw.call(name, frame(f"reset {name}".encode()), end=name == "Sleep")
        raw.flush()
        await asyncio.sleep(0.2)
        raw.connection.reset_stream(stream, 8)
        raw.flush()
        async with grpc.aio.insecure_channel(service.address) as channel:
            await eventually(lambda: is_cancelled(channel, f"reset {name}"))


def test_goaway(service: Service, tmp_path: Path) -> None:
    """A server sends GOAWAY before it ends a connection."""
    running = start("envoy", tmp_path / "log")
    with contextlib.closing(Raw(running.address)) as raw:
        ok(raw.response(raw.call("Echo", frame(b"x"))))
        running.process._process.send_signal(signal.SIGTERM)
        raw.until(lambda: False)
        assert raw.goaway
    assert running.process._process.wait(TIMEOUT) == 0


def test_ping(raw: Raw) -> None:
    """A PING is answered by its own content."""
    raw.connection.ping(b"01234567")
    raw.response(raw.call("Echo", frame(b"x")))
    assert raw.pings == [b"01234567"]


async def test_an_end_that_does_not_answer(service: Service) -> None:
    """A connection whose client does not answer the server's PING is closed, and its calls are cancelled."""
    with contextlib.closing(Raw(service.address)) as raw:
        raw.call("Sleep", frame(b"silent"))
        raw.flush()
        # It reads nothing from now on, and so answers nothing.
        async with grpc.aio.insecure_channel(service.address) as channel:
            await eventually(lambda: is_cancelled(channel, "silent"))


async def test_a_connection_that_breaks(service: Service) -> None:
    """When a connection breaks, its calls are cancelled."""
    with contextlib.closing(Raw(service.address)) as raw:
        raw.call("Sleep", frame(b"broken"))
        raw.flush()
        await asyncio.sleep(0.2)
    async with grpc.aio.insecure_channel(service.address) as channel:
        await eventually(lambda: is_cancelled(channel, "broken"))
