"""Each transport with grpcio's own clients: whatever carries a call, it ends the same."""

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import wrappers_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from tests.fakes.transport_service import MAX_MESSAGE_BYTES, SERVICE
from tests.integration.conftest import TIMEOUT, eventually
from tests.integration.transport.conftest import Service, is_cancelled, method, start


def failure(name: str, channel: grpc.Channel, request: Any = b"", **options: Any) -> Any:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        method(channel, name)(request, **{"timeout": TIMEOUT} | options)
    return caught.value


def test_every_kind(channel: grpc.Channel) -> None:
    """The synchronous client calls methods of every kind."""
    assert method(channel, "Echo")(b"hello", timeout=TIMEOUT) == b"hello"
    assert list(method(channel, "Count")(b"3", timeout=TIMEOUT)) == [b"0", b"1", b"2"]
    assert list(method(channel, "Count")(b"0", timeout=TIMEOUT)) == []
    assert method(channel, "Join")(iter([b"a", b"", b"b"]), timeout=TIMEOUT) == b"a,,b"
    assert list(method(channel, "Chat")(iter([b"x", b"y"]), timeout=TIMEOUT)) == [b"x", b"y"]


async def test_every_kind_async(service: Service) -> None:
    """The asynchronous client does too, many calls at once; a conversation is in full duplex."""
    async with grpc.aio.insecure_channel(service.address) as channel:
        answers = await asyncio.gather(*(method(channel, "Echo")(b"%d" % n, timeout=TIMEOUT) for n in range(200)))
        assert answers == [b"%d" % n for n in range(200)]
        assert [answer async for answer in method(channel, "Count")(b"3", timeout=TIMEOUT)] == [b"0", b"1", b"2"]
        conversation = method(channel, "Chat")(timeout=TIMEOUT)
        for number in range(3):
            await conversation.write(b"%d" % number)
            assert await conversation.read() == b"%d" % number
        await conversation.done_writing()
        assert await conversation.read() is grpc.aio.EOF
        assert await conversation.code() == grpc.StatusCode.OK


def test_metadata_and_deadline(channel: grpc.Channel) -> None:
    """Servicers are told the same of a caller, and callers are sent the same, whatever lies between."""
    sent = (("k", "1"), ("k", "2"), ("x-request-id", "mine"), ("b-bin", b"\0\xff"))
    answer, call = method(channel, "Describe").with_call(b"", timeout=TIMEOUT, metadata=sent)
    told = json.loads(answer)
    metadata = [tuple(entry) for entry in told["metadata"]]
    assert [entry for entry in metadata if entry[0] != "user-agent"] == [(key, repr(value)) for key, value in sent]
    assert "grpc-python" in dict(metadata)["user-agent"]
    assert told["peer"].startswith("ipv4:127.0.0.1:")
    # Clients may round the time up on its way.
    assert 0 < told["time_remaining"] <= 1.05 * TIMEOUT
    assert [value for key, value in call.initial_metadata() if key == "initial"] == ["1", "2"]
    assert dict(call.trailing_metadata())["trailing-bin"] == b"\0\xff"
    assert json.loads(method(channel, "Describe")(b""))["time_remaining"] is None


def test_errors(channel: grpc.Channel) -> None:
    """A status arrives with its text and details; what a servicer raises is UNKNOWN, and no method UNIMPLEMENTED."""
    error = failure("Fail", channel, b"why")
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "100% größer\nas it was")
    detail = wrappers_pb2.BytesValue()
    assert rpc_status.from_call(error).details[0].Unpack(detail)
    assert detail.value == b"why"
    assert failure("Boom", channel).code() == grpc.StatusCode.UNKNOWN
    error = failure("Nothing", channel)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


def test_big_messages(channel: grpc.Channel) -> None:
    """Messages up to the limit are carried both ways; beyond it is RESOURCE_EXHAUSTED."""
    message = bytes(MAX_MESSAGE_BYTES)
    assert method(channel, "Echo")(message, timeout=TIMEOUT) == message
    assert failure("Echo", channel, message + b"1").code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compression(channel: grpc.Channel, compression: grpc.Compression) -> None:
    """Compressed requests are read, and a client reads compressed responses."""
    echo = method(channel, "Echo")
    message = b"x" * 100_000
    assert echo(message, compression=compression, metadata=(("compress", "1"),), timeout=TIMEOUT) == message


def test_a_slow_reader_holds_the_client_up(service: Service, channel: grpc.Channel) -> None:
    """A stream that its servicer does not read yet waits at the client's, and is whole in the end."""
    method(channel, "Echo")(b"", timeout=TIMEOUT)
    before = service.resident_kilobytes()
    total = method(channel, "Sum")((bytes(1 << 20) for _ in range(200)), timeout=TIMEOUT)
    assert int(total) == 200 << 20
    # Far from all of it; what was freed need not have gone back to the system.
    assert service.resident_kilobytes() - before < 120_000


async def test_deadline(service: Service) -> None:
    """A call whose time is over ends for both sides."""
    async with grpc.aio.insecure_channel(service.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(channel, "Sleep")(b"expired", timeout=0.3)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: is_cancelled(channel, "expired"))


@pytest.mark.parametrize("name", ["Sleep", "SleepInStream"])
async def test_cancellation(service: Service, name: str) -> None:
    """The servicer of a caller that has gone is cancelled, also when the request had ended and there is no deadline."""
    async with grpc.aio.insecure_channel(service.address) as channel:
        if name == "Sleep":
            call = method(channel, name)(b"Sleep")
        else:
            call = method(channel, name)()
            await call.write(b"SleepInStream")
        await asyncio.sleep(0.2)
        call.cancel()
        await eventually(lambda: is_cancelled(channel, name))


def test_health_and_reflection(channel: grpc.Channel) -> None:
    """Health is checked and watched, and reflection lists the services."""
    health = HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT).status == 1
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
    assert next(watch).status == 1
    watch.cancel()
    assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_drain(service: Service, tmp_path: Path) -> None:
    """At SIGTERM calls in flight finish, new connections are refused, and the process ends with status 0."""
    running = start(service.transport, tmp_path / "log")
    with grpc.insecure_channel(running.address) as channel:
        go_on = threading.Event()

        def requests() -> Iterator[bytes]:
            yield b"first"
            assert go_on.wait(TIMEOUT)
            yield b"last"

        conversation = method(channel, "Chat")(requests(), timeout=TIMEOUT)
        assert next(conversation) == b"first"
        running.process._process.send_signal(signal.SIGTERM)
        host, _, port = running.address.rpartition(":")
        refused = False
        for _ in range(200):
            try:
                socket.create_connection((host, int(port)), TIMEOUT).close()
            except OSError:
                refused = True
                break
            threading.Event().wait(0.05)
        go_on.set()
        assert list(conversation) == [b"last"]
    assert refused
    assert running.process._process.wait(TIMEOUT) == 0
    assert running.process.log.read_text().splitlines()[-1] == "stopped"
