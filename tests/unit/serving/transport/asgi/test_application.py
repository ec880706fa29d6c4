"""serving.transport.asgi.application: the rules of gRPC over HTTP/2, one by one"""

import asyncio
import gzip
import struct
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection
from hypothesis import given
from hypothesis import strategies as st

from serving.transport.asgi.application import PROBE_INTERVAL, GrpcApplication
from serving.transport.health import HealthServicer
from tests.fakes.asgi_host import Exchange, frame

KINDS: dict[str, Callable[..., Any]] = {
    "UU": grpc.unary_unary_rpc_method_handler,
    "US": grpc.unary_stream_rpc_method_handler,
    "SU": grpc.stream_unary_rpc_method_handler,
    "SS": grpc.stream_stream_rpc_method_handler,
}
OK, CANCELLED, UNKNOWN, DEADLINE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 1, 2, 4, 12, 13, 14


async def echo(request: bytes, _context: Any) -> bytes:
    """Answers with the request."""
    return request


async def endless(_request: bytes, _context: Any) -> bytes:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError


def serving(
    behaviour: Any, kind: str = "UU", *, codec: tuple[Any, Any] = (None, None), **options: Any
) -> GrpcApplication:
    """An application with the one method /s/M."""

    def register(server: grpc.aio.Server) -> None:
        handler = KINDS[kind](behaviour, *codec)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"M": handler}),))

    return GrpcApplication([register], **options)


def start(behaviour: Any, kind: str = "UU", headers: Any = (), **options: Any) -> Exchange:
    """A call whose request is still to come."""
    return Exchange(serving(behaviour, kind, **options), "/s/M", headers)


async def call(behaviour: Any, *messages: bytes, kind: str = "UU", headers: Any = (), **options: Any) -> Exchange:
    """A whole call."""
    return await start(behaviour, kind, headers, **options).finish(*map(frame, messages or [b"hi"]))


async def test_unary() -> None:
    """A call is answered with HTTP's 200, gRPC's content-type, the message, and the status in trailers."""
    answer = await call(echo, b"hello")
    assert answer.status == 200
    assert (b"content-type", b"application/grpc") in answer.initial
    assert answer.body == frame(b"hello")
    assert answer.trailing == [(b"grpc-status", b"0")]


async def test_messages_are_converted() -> None:
    """Requests go through the method's deserializer and responses through its serializer."""
    assert (await call(echo, b"Hi", codec=(bytes.upper, bytes.swapcase))).body == frame(b"hi")


async def test_server_stream() -> None:
    """A generator's responses are sent one by one; `write` does the same."""

    async def generator(request: bytes, _context: Any) -> Any:
        for byte in request:
            yield bytes([byte])

    async def writer(request: bytes, context: Any) -> None:
        for byte in request:
            await context.write(bytes([byte]))

    for behaviour in (generator, writer):
        answer = await call(behaviour, b"abc", kind="US")
        assert (answer.body, answer.code) == (frame(b"a") + frame(b"b") + frame(b"c"), OK)


async def test_client_stream() -> None:
    """Requests come by an iterator or by `read`, which gives EOF at the end."""

    async def iterating(requests: Any, _context: Any) -> bytes:
        return b"-".join([request async for request in requests])

    async def reading(_requests: Any, context: Any) -> bytes:
        found = []
        while (request := await context.read()) is not grpc.aio.EOF:
            found.append(request)
        assert await context.read() is grpc.aio.EOF
        return b"-".join(found)

    for behaviour in (iterating, reading):
        assert (await call(behaviour, b"a", b"", b"c", kind="SU")).body == frame(b"a--c")
        assert (await start(behaviour, "SU").finish()).body == frame(b"")


async def test_full_duplex() -> None:
    """In a bidirectional call an answer leaves before the next request comes."""

    async def behaviour(requests: Any, _context: Any) -> Any:
        async for request in requests:
            yield request

    exchange = start(behaviour, "SS")
    for number in range(3):
        exchange.feed(frame(bytes([number])))
        await exchange.until(lambda number=number: exchange.body[-1:] == bytes([number]))  # type: ignore[misc]
    assert (await exchange.finish()).code == OK


@pytest.mark.parametrize(
    ("scope", "headers", "status"),
    [
        ({"headers": []}, [], 415),
        ({"headers": [(b"content-type", b"application/json")]}, [], 415),
        ({"headers": [(b"content-type", b"application/grpc-web")]}, [], 415),
        ({"method": "GET"}, [], 405),
        ({"http_version": "1.1"}, [], 505),
        ({"http_version": "1.1"}, [(b"x-grpc-web", b"1")], 200),
        ({}, [(b"content-type", b"application/grpc+proto")], 200),
        ({}, [(b"content-type", b"application/grpc;charset=utf-8")], 200),
    ],
)
async def test_what_is_no_grpc(scope: dict[str, Any], headers: Any, status: int) -> None:
    """What is no gRPC gets HTTP's status for it; the content-type may have a suffix, and gRPC-Web comes by HTTP/1.1."""
    answer = await Exchange(serving(echo), "/s/M", headers, scope).finish(frame(b"x"))
    assert answer.status == status
    assert answer.trailers_only or (status, answer.body) == (200, frame(b"x")) or answer.body.startswith(b"expected")


@pytest.mark.parametrize("scope", [{"path": "/s/N"}, {"path": "/t/M"}, {"path": "/"}, {"query_string": b"a=b"}])
async def test_unknown_methods(scope: dict[str, Any]) -> None:
    """A method that there is none of is UNIMPLEMENTED, in one block of headers, without waiting for the request."""
    answer = await Exchange(serving(echo), "/s/M", (), scope).over()
    assert answer.trailers_only
    assert (answer.code, answer.message) == (UNIMPLEMENTED, "Method not found!")


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ([], UNIMPLEMENTED, "no message"),
        ([frame(b"a") + frame(b"b")], UNIMPLEMENTED, "several messages"),
        ([frame(b"a"), frame(b"b")], UNIMPLEMENTED, "several messages"),
        ([frame(b"a"), b"\0"], INTERNAL, "within a message"),
        ([b"\0\0\0"], INTERNAL, "within a message"),
        ([frame(b"abc")[:-1]], INTERNAL, "within a message"),
        ([b"\x02" + frame(b"a")[1:]], INTERNAL, "expected 0x00 or 0x01"),
        ([frame(b"a", 1)], INTERNAL, "no grpc-encoding"),
    ],
)
async def test_malformed_requests(body: list[bytes], code: int, text: str) -> None:
    """A method that takes one message gets one, whole; the codes are those of the specification."""
    answer = await start(echo).finish(*body)
    assert answer.code == code
    assert text in answer.message
    assert answer.trailers_only


async def test_a_message_cut_short_in_a_stream() -> None:
    """A stream that ends within a message is INTERNAL after the responses so far."""

    async def behaviour(requests: Any, _context: Any) -> Any:
        async for request in requests:
            yield request

    answer = await start(behaviour, "SS").finish(frame(b"a") + b"\0")
    assert (answer.body, answer.code) == (frame(b"a"), INTERNAL)


async def test_too_large_messages() -> None:
    """A message beyond the limit is refused when its length is there, and the rest of it is not awaited."""
    exchange = start(echo, max_message_bytes=10)
    exchange.feed(struct.pack(">BI", 0, 2**32 - 1))
    assert (await exchange.over()).code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert (await call(echo, b"x" * 10, max_message_bytes=10)).code == OK


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
async def test_compressed_requests(encoding: bytes, pack: Callable[[bytes], bytes]) -> None:
    """Requests are unpacked, message by message; one without the flag is plain."""
    for body in (frame(pack(b"hello"), 1), frame(b"hello")):
        answer = await start(echo, headers=[(b"grpc-encoding", encoding)]).finish(body)
        assert (answer.body, answer.code) == (frame(b"hello"), OK)
        assert (b"grpc-accept-encoding", b"identity, deflate, gzip") in answer.initial


async def test_an_unknown_encoding() -> None:
    """An encoding that is not supported is UNIMPLEMENTED, and the answer says which are."""
    answer = await start(echo, headers=[(b"grpc-encoding", b"br")]).finish(frame(b"x", 1))
    assert answer.code == UNIMPLEMENTED
    assert (b"grpc-accept-encoding", b"identity, deflate, gzip") in answer.initial


@pytest.mark.parametrize(
    ("compression", "unpack"), [(grpc.Compression.Gzip, gzip.decompress), (grpc.Compression.Deflate, zlib.decompress)]
)
async def test_compressed_responses(compression: Any, unpack: Callable[[bytes], bytes]) -> None:
    """Responses are packed if the servicer says so and the caller takes it; single ones may stay as they are."""

    async def behaviour(request: bytes, context: Any) -> Any:
        context.set_compression(compression)
        yield request
        context.disable_next_message_compression()
        yield request

    accepted = [(b"grpc-accept-encoding", b"identity,gzip, deflate")]
    answer = await call(behaviour, b"x" * 100, kind="US", headers=accepted)
    flag, length = struct.unpack_from(">BI", answer.body)
    assert (flag, unpack(answer.body[5 : 5 + length])) == (1, b"x" * 100)
    assert answer.body[5 + length :] == frame(b"x" * 100)
    assert (b"grpc-encoding", compression.name.lower().encode()) in answer.initial
    plain = await call(behaviour, b"x" * 100, kind="US")
    assert plain.body == frame(b"x" * 100) * 2
    assert b"grpc-encoding" not in dict(plain.initial)


async def test_deadlines() -> None:
    """A call whose time is over is DEADLINE_EXCEEDED, and its servicer is cancelled."""
    seen = []

    async def behaviour(_request: bytes, context: Any) -> bytes:
        seen.append(context.time_remaining())
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return b""

    answer = await call(behaviour, headers=[(b"grpc-timeout", b"50m")])
    assert answer.code == DEADLINE
    assert 0 < seen[0] <= 0.05
    assert seen[1:] == ["cancelled"]


async def test_a_deadline_that_passes_before_the_request_is_there() -> None:
    """A request that does not come is not waited for beyond the deadline."""
    exchange = start(echo, headers=[(b"grpc-timeout", b"20m")])
    exchange.feed(b"\0\0")
    assert (await exchange.over()).code == DEADLINE
    assert (await call(echo, headers=[(b"grpc-timeout", b"0n")])).code in (OK, DEADLINE)
    assert (await call(echo, headers=[(b"grpc-timeout", b"99999999H")])).code == OK


async def test_no_deadline() -> None:
    """A call without one has no end of its time."""

    async def behaviour(_request: bytes, context: Any) -> bytes:
        return repr(context.time_remaining()).encode()

    assert (await call(behaviour)).body == frame(b"None")
    assert (await call(behaviour, headers=[(b"grpc-timeout", b"soon")])).code == INTERNAL


async def test_metadata() -> None:
    """Callers' metadata reach the servicer and its own reach the caller, before the answer and after."""

    async def behaviour(_request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("first", "1"),))
        with pytest.raises(grpc.aio.UsageError):
            await context.send_initial_metadata(())
        with pytest.raises(ValueError, match="metadata key"):
            context.set_trailing_metadata((("grpc-status", "1"),))
        context.set_trailing_metadata((("last", "a"), ("last", "b"), ("x-bin", b"\xff")))
        return repr(context.invocation_metadata()).encode()

    answer = await call(behaviour, headers=[(b"k", b"1"), (b"k", b"2"), (b"b-bin", b"AA"), (b"grpc-timeout", b"9S")])
    assert answer.body[5:].decode() == repr((("k", "1"), ("k", "2"), ("b-bin", b"\0")))
    assert (b"first", b"1") in answer.initial
    assert answer.trailing == [(b"grpc-status", b"0"), (b"last", b"a"), (b"last", b"b"), (b"x-bin", b"/w")]


async def test_abort() -> None:
    """Abort ends the call with code, text and metadata; what the servicer does afterwards changes nothing."""

    async def behaviour(_request: bytes, context: Any) -> bytes:
        try:
            await context.abort(grpc.StatusCode.NOT_FOUND, "50% gone: ü", (("grpc-status-details-bin", b"\0"),))
        except grpc.aio.AbortError:
            with pytest.raises(grpc.aio.UsageError):
                await context.abort(grpc.StatusCode.INTERNAL)
            with pytest.raises(grpc.aio.AbortError):
                await context.write(b"")
        assert context.done()
        return b"ignored"

    answer = await call(behaviour)
    assert answer.trailers_only
    assert (answer.code, answer.message) == (5, "50%25 gone: %C3%BC")
    assert dict(answer.trailing)[b"grpc-status-details-bin"] == b"AA"


async def test_abort_in_a_stream() -> None:
    """After responses the status comes in trailers."""

    async def behaviour(_request: bytes, context: Any) -> Any:
        yield b"one"
        context.set_trailing_metadata((("k", "v"),))
        await context.abort(grpc.StatusCode.OK)

    answer = await call(behaviour, kind="US")
    assert answer.body == frame(b"one")
    # A call that is aborted has not gone well.
    assert answer.code == UNKNOWN
    assert (b"k", b"v") in answer.trailing


async def test_set_code() -> None:
    """A status that is set is sent in place of the response, by its name or number."""

    async def behaviour(request: bytes, context: Any) -> bytes:
        context.set_code(9 if request == b"9" else grpc.StatusCode.ABORTED)
        context.set_details("no")
        assert (context.code() is not None, context.details()) == (True, "no")
        return b"ignored"

    for request, code in ((b"9", 9), (b"", 10)):
        answer = await call(behaviour, request)
        assert (answer.code, answer.message, answer.body) == (code, "no", b"")


async def test_failures(caplog: pytest.LogCaptureFixture) -> None:
    """A servicer that raises is UNKNOWN, a message that cannot be converted INTERNAL; the log alone says more."""

    def fail(*_arguments: Any) -> Any:
        raise RuntimeError("secret")

    async def failing(_request: bytes, _context: Any) -> bytes:
        return fail()  # type: ignore[no-any-return]

    for arguments, code in (
        ({"behaviour": failing}, UNKNOWN),
        ({"behaviour": echo, "codec": (fail, None)}, INTERNAL),
        ({"behaviour": echo, "codec": (None, fail)}, INTERNAL),
    ):
        caplog.clear()
        answer = await call(**arguments)  # type: ignore[arg-type]
        assert answer.code == code
        assert "secret" not in answer.message
        assert code == INTERNAL or "secret" in caplog.text


async def test_back_pressure_on_requests() -> None:
    """While the servicer is busy no more is taken from the host than the message that is next."""
    busy = asyncio.Event()

    async def behaviour(requests: Any, _context: Any) -> bytes:
        await busy.wait()
        return b"".join([request async for request in requests])

    exchange = start(behaviour, "SU")
    for _ in range(5):
        exchange.feed(frame(b"x"))
    await asyncio.sleep(0.01)
    assert exchange.received <= 1
    busy.set()
    assert (await exchange.finish()).body == frame(b"xxxxx")


async def test_back_pressure_on_responses() -> None:
    """A servicer waits while the host does not take its responses."""
    written = []

    async def behaviour(_request: bytes, context: Any) -> None:
        for number in range(3):
            await context.write(b"x")
            written.append(number)

    exchange = start(behaviour, "US")
    exchange.takes.clear()
    exchange.feed(frame(b""), more=False)
    await asyncio.sleep(0.01)
    assert written == []
    exchange.takes.set()
    await exchange.over()
    assert written == [0, 1, 2]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_client_that_goes(ended: bool) -> None:
    """The servicer of a client that has gone is cancelled: at once, or soon if the request had ended."""
    notes = []

    async def behaviour(_request: Any, context: Any) -> bytes:
        context.add_done_callback(lambda context: notes.append(context.cancelled()))
        if not ended:
            # Who leaves requests unread hears of it when writing.
            await context.read()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            notes.append("cancelled")
            raise
        return b""

    exchange = start(behaviour, "UU" if ended else "SU")
    exchange.feed(frame(b"x"), more=not ended)
    await exchange.until(lambda: exchange.received)
    exchange.leave()
    async with asyncio.timeout(PROBE_INTERVAL * 8):
        await exchange.over()
    assert notes == ["cancelled", True]
    assert exchange.sent == []


async def test_writing_to_a_client_that_has_gone() -> None:
    """Who writes to nobody is cancelled."""

    async def behaviour(_request: bytes, context: Any) -> None:
        exchange.gone = True
        with pytest.raises(asyncio.CancelledError):
            await context.write(b"x")
        raise asyncio.CancelledError

    exchange = start(behaviour, "US")
    exchange.feed(frame(b"x"), more=False)
    await exchange.over()


async def test_the_hosts_own_cancellation_goes_through() -> None:
    """A task that somebody else cancels is cancelled."""
    exchange = start(endless)
    exchange.feed(frame(b""), more=False)
    await exchange.until(lambda: exchange.received)
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.over()


async def test_stopping() -> None:
    """A server that stops refuses calls, lets those under way finish within the grace, and ends the others."""
    finish = asyncio.Event()

    async def behaviour(request: bytes, _context: Any) -> bytes:
        await (finish.wait() if request == b"quick" else asyncio.Event().wait())
        return b"done"

    application = serving(behaviour)
    quick, slow = Exchange(application, "/s/M"), Exchange(application, "/s/M")
    quick.feed(frame(b"quick"), more=False)
    slow.feed(frame(b"slow"), more=False)
    await slow.until(lambda: quick.received and slow.received)
    stopping = asyncio.create_task(application.stop(0.2))
    await asyncio.sleep(0.01)
    late = await Exchange(application, "/s/M").finish(frame(b"late"))
    assert (late.code, late.message) == (UNAVAILABLE, "the server is stopping")
    finish.set()
    assert (await quick.over()).body == frame(b"done")
    assert not stopping.done()
    await stopping
    assert (await slow.over()).code == UNAVAILABLE


class Note(grpc.aio.ServerInterceptor):
    """Notes every call that passes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.notes.append(f"{self.name} {handler_call_details.method} {handler_call_details.invocation_metadata}")
        return await continuation(handler_call_details)


async def test_interceptors() -> None:
    """Interceptors see every call, the first one first, unknown methods too."""
    notes: list[str] = []
    application = serving(echo, interceptors=[Note("a", notes), Note("b", notes)])
    await Exchange(application, "/s/M", [(b"k", b"v")]).finish(frame(b""))
    await Exchange(application, "/s/N").finish(frame(b""))
    assert notes == ["a /s/M (('k', 'v'),)", "b /s/M (('k', 'v'),)", "a /s/N ()", "b /s/N ()"]


async def test_health_and_reflection() -> None:
    """The servicers that come with grpcio register and answer as they do elsewhere."""
    health = HealthServicer()
    await health.tell("x", serving=True)

    def reflect(server: grpc.aio.Server) -> None:
        reflection.enable_server_reflection(("grpc.health.v1.Health", reflection.SERVICE_NAME), server)

    application = GrpcApplication([lambda server: add_HealthServicer_to_server(health, server), reflect])
    request = health_pb2.HealthCheckRequest(service="x").SerializeToString()
    answer = await Exchange(application, "/grpc.health.v1.Health/Check").finish(frame(request))
    assert answer.body == frame(health_pb2.HealthCheckResponse(status="SERVING").SerializeToString())
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    listing = await Exchange(application, path).finish(frame(b"\x3a\x01*"))
    assert b"grpc.health.v1.Health" in listing.body


@given(st.lists(st.binary(max_size=40), max_size=4), st.sampled_from(sorted(KINDS)), st.booleans(), st.booleans())
def test_any_body(parts: list[bytes], kind: str, wellformed: bool, leaves: bool) -> None:
    """Whatever is sent, to any kind of method, the call ends with one status that HTTP/2 can carry."""

    async def unary(request: Any, _context: Any) -> bytes:
        return request if kind == "UU" else b"".join([part async for part in request])

    async def stream(request: Any, _context: Any) -> Any:
        if kind == "US":
            yield request
        else:
            async for part in request:
                yield part

    async def scenario() -> None:
        application = serving(unary if kind[1] == "U" else stream, kind, max_message_bytes=1000)
        exchange = Exchange(application, "/s/M", [(b"grpc-encoding", b"gzip")])
        for part in parts:
            exchange.feed(frame(part) if wellformed else part)
        if leaves:
            exchange.leave()
            await exchange.over()
        else:
            answer = await exchange.finish()
            assert answer.code in (OK, UNIMPLEMENTED, INTERNAL, 8)
            assert answer.code == OK or not wellformed or kind[0] == "U"

    asyncio.run(scenario())


@given(
    st.sampled_from([b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"x-bin", b"content-type", b"x"]),
    st.binary(max_size=20),
)
def test_any_header(name: bytes, value: bytes) -> None:
    """Whatever a header holds, the call ends with a status."""

    async def scenario() -> None:
        answer = await Exchange(serving(echo), "/s/M", [(name, value)]).finish(frame(b"x"))
        assert answer.status in (200, 415)
        assert answer.status == 415 or answer.code in (OK, DEADLINE, UNIMPLEMENTED, INTERNAL)

    asyncio.run(scenario())
