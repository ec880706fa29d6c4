"""gateway.interceptors"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog

from gateway.call import Call, current_call
from gateway.errors import RequestTooLarge, Unauthenticated
from gateway.interceptors.access_log import AccessLog
from gateway.interceptors.chain import Chain
from gateway.interceptors.interceptor import Interceptor
from gateway.interceptors.request_id import RequestId
from serving.transport.grpc_aio import GrpcAioServer


class Recorder:
    """Notes what it sees; refuses with `error` if there is one."""

    def __init__(self, name: str, notes: list[str], error: Exception | None = None) -> None:
        self.name, self.notes, self.error = name, notes, error

    async def on_start(self, call: Call) -> None:
        self.notes.append(f"{self.name} start")
        if self.error:
            raise self.error

    def on_end(self, call: Call) -> None:
        self.notes.append(f"{self.name} end {call.code}")


class Notes(Interceptor):
    """Notes how calls start and end."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    async def on_start(self, call: Call) -> None:
        self.notes.append("start")

    def on_end(self, call: Call) -> None:
        self.notes.append(f"end {call.code}")


@contextlib.asynccontextmanager
async def serving(handler: Any, chain: Chain) -> AsyncIterator[grpc.aio.Channel]:
    """A real connection to a server that has `handler` for the method /s/M, with `chain` around it."""

    def register(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"M": handler}),))

    server = GrpcAioServer([register], interceptors=[chain])
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)


async def call(chain: Chain, behaviour: Any, raw: bytes = b"x") -> bytes:
    """Calls `behaviour` through `chain`."""
    handler = grpc.unary_unary_rpc_method_handler(behaviour, bytes.upper, bytes.lower)
    async with serving(handler, chain) as channel:
        answer: bytes = await channel.unary_unary("/s/M")(raw)
        return answer


async def echo(request: bytes, context: Any) -> bytes:
    """Answers with the request."""
    assert current_call.get().method == "/s/M"
    return request


async def test_order() -> None:
    """Interceptors start outermost first and end in reverse; the servicer sees a parsed request."""
    notes: list[str] = []
    chain = Chain([Recorder("a", notes), Recorder("b", notes)], max_request_bytes=9)
    assert await call(chain, echo) == b"x"
    assert notes == ["a start", "b start", "b end OK", "a end OK"]


async def test_refusal() -> None:
    """Who refuses ends the call: nobody further in starts, and those who started end with the code."""
    notes: list[str] = []
    chain = Chain(
        [Recorder("a", notes), Recorder("b", notes, ValueError("!")), Recorder("c", notes)], max_request_bytes=9
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(chain, echo)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert notes == ["a start", "b start", "b end INTERNAL", "a end INTERNAL"]


async def test_unknown_exception() -> None:
    """A bug in a servicer is INTERNAL without its text; the log has one line with its traceback."""

    async def buggy(request: bytes, context: Any) -> bytes:
        raise RuntimeError("the password is 1234")

    with structlog.testing.capture_logs() as lines, pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(Chain([RequestId(), AccessLog()], max_request_bytes=9), buggy)
    assert "1234" not in (caught.value.details() or "")
    (line,) = lines
    assert (line["code"], line["log_level"]) == ("INTERNAL", "error")
    assert line["request_id"] in (caught.value.details() or "")
    assert isinstance(line["exc_info"], RuntimeError)
    assert "1234" not in json.dumps({key: value for key, value in line.items() if key != "exc_info"})


async def test_too_large() -> None:
    """A request over the limit is refused before it is parsed."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(Chain([], max_request_bytes=9), echo, b"x" * 10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class Refuses(Interceptor):
    """Refuses the message `x`."""

    async def on_message(self, call: Call) -> None:
        if call.messages == 3:
            raise Unauthenticated("no more")


async def test_stream() -> None:
    """Messages of a stream are parsed one by one: one that cannot be is the servicer's to answer, and the next come."""

    async def behaviour(requests: Any, context: Any) -> Any:
        while True:
            try:
                yield b"%s %d" % (await anext(requests), current_call.get().messages)
            except StopAsyncIteration:
                return
            except RequestTooLarge:
                yield b"too large"

    notes: list[str] = []
    chain = Chain([Notes(notes), Refuses()], max_request_bytes=9)
    handler = grpc.stream_stream_rpc_method_handler(behaviour, bytes.upper, bytes.lower)
    async with serving(handler, chain) as channel:
        method = channel.stream_stream("/s/M")
        assert [answer async for answer in method(iter([b"A", b"x" * 10]))] == [b"a 1", b"too large"]
        assert [answer async for answer in method(iter([]))] == []
        stream = method(iter([b"A"] * 4))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [answer async for answer in stream]
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert notes == ["start", "end OK", "start", "end OK", "start", "end UNAUTHENTICATED"]


async def test_client_stream() -> None:
    """A method that answers a stream of messages once has the same chain around it."""

    async def behaviour(requests: Any, context: Any) -> bytes:
        return b"".join([message async for message in requests])

    notes: list[str] = []
    chain = Chain([Notes(notes), Refuses()], max_request_bytes=9)
    handler = grpc.stream_unary_rpc_method_handler(behaviour, bytes.upper, bytes.lower)
    async with serving(handler, chain) as channel:
        method = channel.stream_unary("/s/M")
        assert await method(iter([b"a", b"B"])) == b"ab"
        for messages, code in (
            ([b"a"] * 3, grpc.StatusCode.UNAUTHENTICATED),
            ([b"x" * 10], grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(iter(messages))
            assert caught.value.code() is code
    assert notes == ["start", "end OK", "start", "end UNAUTHENTICATED", "start", "end RESOURCE_EXHAUSTED"]


async def test_server_stream() -> None:
    """A method that only streams answers has no chain yet, and is refused rather than left without."""
    handler = grpc.unary_stream_rpc_method_handler(echo)
    async with serving(handler, Chain([], max_request_bytes=9)) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            [answer async for answer in channel.unary_stream("/s/M")(b"x")]
