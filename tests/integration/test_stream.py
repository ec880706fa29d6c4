"""StreamPredict through a real gateway: order, back-pressure, what fails and what ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.auth.keys import KeysFile
from tensorgate import Client, TensorgateError
from tensorgate.v1 import inference_service_pb2 as pb
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually
from tests.integration.test_client import command

METHOD = "/tensorgate.v1.InferenceService/StreamPredict"
PNG = digits.encode(digits.band(3))


def message(digit: int, **fields: Any) -> bytes:
    """A request of a stream for one digit."""
    instance = pb.Instance(image=digits.encode(digits.band(digit)))
    return pb.StreamPredictRequest(request=pb.PredictRequest(instances=[instance]), **fields).SerializeToString()


def call(gateway: Gateway, channel: grpc.aio.Channel, **options: Any) -> Any:
    """A stream of bytes; by default it ends with the test's time."""
    metadata = [("authorization", f"Bearer {gateway.key}")]
    return channel.stream_stream(METHOD)(metadata=metadata, **{"timeout": TIMEOUT} | options)


async def read(stream: Any) -> pb.StreamPredictResponse:
    """The next answer."""
    return pb.StreamPredictResponse.FromString(await stream.read())


async def test_clients(shared_gateway: Gateway) -> None:
    """Both clients stream: answers in order or not, and each says which instance it is for."""
    images = [digits.encode(digits.band(digit)) for digit in range(10)]
    with Client(shared_gateway.address, key=shared_gateway.key) as client:
        for in_order in (True, False):
            answers = list(client.stream(iter(images), top_k=1, in_order=in_order, timeout=TIMEOUT))
            assert sorted((answer.sequence, answer.label) for answer in answers) == [(n, str(n)) for n in range(10)]
            assert not in_order or [answer.sequence for answer in answers] == list(range(10))
    line = shared_gateway.calls()[-1]
    assert (line["code"], line["messages"], line["instances"], line["model"]) == ("OK", 10, 10, "digits")

    async def by_and_by() -> AsyncIterator[bytes]:
        for image in images:
            yield image

    async with shared_gateway.client() as client:
        labels = [answer.label async for answer in client.stream(by_and_by())]
        labels += [answer.label async for answer in client.stream(images[:2])]
    assert labels == [*"0123456789", "0", "1"]


async def test_an_instance_that_cannot_be_sent(shared_gateway: Gateway) -> None:
    """What the instances raise is raised to who streams, after the answers to those before."""
    instances = [PNG, b"x", PNG, Path("none.png"), PNG]
    with Client(shared_gateway.address, key=shared_gateway.key) as client:
        answers = client.stream(instances, timeout=TIMEOUT)
        first, second, _ = next(answers), next(answers), next(answers)
        assert first.label == "3"
        assert second.error
        assert (second.error.reason, second.error.field) == ("IMAGE_UNREADABLE", "instances[0]")
        with pytest.raises(FileNotFoundError):
            next(answers)
    async with shared_gateway.client() as client:
        with pytest.raises(FileNotFoundError):
            [answer async for answer in client.stream(instances)]
    with Client(shared_gateway.address, key="wrong") as client, pytest.raises(TensorgateError, match="UNAUTHENTICATED"):
        list(client.stream([PNG], timeout=TIMEOUT))


def test_command(shared_gateway: Gateway, tmp_path: Path) -> None:
    """`tensorgate stream` prints a line for each file that standard input names, and its status tells of failures."""
    good, bad = tmp_path / "3.png", tmp_path / "bad.png"
    good.write_bytes(PNG)
    bad.write_bytes(b"x")
    ended = command(shared_gateway, "stream", stdin=f"{good}\n{bad}\nnone.png\n{good}\n".encode())
    lines = ended.stdout.decode().splitlines()
    assert ended.returncode == 1
    assert sum('"label": "3"' in line for line in lines) == 2
    assert (
        sum("IMAGE_UNREADABLE" in line or "expected a PNG" in line or "INVALID_ARGUMENT" in line for line in lines) == 1
    )
    assert sum("No such file" in line for line in lines) == 1
    assert command(shared_gateway, "stream", stdin=f"{good}\n".encode()).returncode == 0


async def test_a_bad_message_fails_its_answer_alone(shared_gateway: Gateway) -> None:
    """A message that is unreadable, too large or asks for what is not there is answered so, and the stream goes on."""
    large = pb.PredictRequest(instances=[pb.Instance(image=bytes(17 << 20))])
    messages = [
        message(1, tag="a", in_order=True),
        b"\xff\xff",
        pb.StreamPredictRequest(tag="large", request=large, in_order=True).SerializeToString(),
        pb.StreamPredictRequest(tag="empty", in_order=True).SerializeToString(),
        pb.StreamPredictRequest(tag="cats", request=pb.PredictRequest(model="cats"), in_order=True).SerializeToString(),
        message(2, tag="b", in_order=True),
    ]
    async with grpc.aio.insecure_channel(
        shared_gateway.address, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        stream = call(shared_gateway, channel)
        for raw in messages:
            await stream.write(raw)
        await stream.done_writing()
        answers = [pb.StreamPredictResponse.FromString(raw) async for raw in stream]
        assert await stream.code() is grpc.StatusCode.OK
    by_place = {answer.sequence: answer for answer in answers}
    assert len(by_place) == len(answers) == 6
    reasons = [by_place[place].error.reason for place in range(6)]
    assert reasons == ["", "REQUEST_UNREADABLE", "REQUEST_TOO_LARGE", "INVALID_INPUT", "MODEL_NOT_FOUND", ""]
    assert [by_place[place].tag for place in (0, 3, 4, 5)] == ["a", "empty", "cats", "b"]
    assert by_place[5].response.predictions[0].classification.label == "2"
    assert by_place[3].error.field == "instances"


async def test_who_does_not_read(start_gateway: StartGateway, server: FakeModelServer, transport: str) -> None:
    """Who sends and does not read is not read from: what is kept for it is bounded, and others are served."""
    gateway = start_gateway(server.address, "--limits.max-stream-in-flight=4")
    pixels = pb.Pixels(data=bytes(64), height=8, width=8)
    many = pb.PredictRequest(instances=[pb.Instance(pixels=pixels)] * 200, top_k=10)
    raw = pb.StreamPredictRequest(request=many).SerializeToString()
    # A window of 64 kB instead of one that grows.
    async with grpc.aio.insecure_channel(gateway.address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        stream = call(gateway, channel)

        async def send() -> None:
            while True:
                await stream.write(raw)

        sending = asyncio.create_task(send())

        async def stalled() -> bool:
            answered = sum(server.batches)
            await asyncio.sleep(1.0)
            return 0 < answered == sum(server.batches)

        await eventually(stalled)
        assert not sending.done()
        # Envoy keeps up to a megabyte of answers, grpcio a window.
        assert sum(server.batches) < 200 * {"grpc.aio": 20, "envoy": 60}[transport]
        async with gateway.client() as client:
            assert (await client.predict(PNG)).label == "3"
        stream.cancel()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await eventually(lambda: asyncio.sleep(0, [line["code"] for line in gateway.calls()] == ["OK", "CANCELLED"]))
    assert 'in_flight{method="/tensorgate.v1.InferenceService/StreamPredict"} 0.0' in gateway.get("/metrics")[1]


async def test_cancel(gateway: Gateway, server: FakeModelServer) -> None:
    """A stream that its caller cancels frees its upstream calls and its place."""
    server.delay = 60.0
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = call(gateway, channel)
        for digit in range(5):
            await stream.write(message(digit))
            # Those that come together travel together.
            await eventually(lambda seen=digit + 1: asyncio.sleep(0, len(server.batches) == min(seen, 2)))
        stream.cancel()
        await eventually(lambda: asyncio.sleep(0, server.cancelled == 2))
        await eventually(lambda: asyncio.sleep(0, [line["code"] for line in gateway.calls()] == ["CANCELLED"]))
        server.delay = 0.0
        async with gateway.client() as client:
            assert (await client.predict(PNG)).label == "3"


async def test_deadline(gateway: Gateway, server: FakeModelServer) -> None:
    """The call's deadline ends the stream."""
    server.delay = 60.0
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = call(gateway, channel, timeout=0.5)
        await stream.write(message(1))
        assert await stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: asyncio.sleep(0, server.cancelled == len(server.batches)))
    # The caller's clock started first: that it hung up may be known here before its time is over.
    await eventually(lambda: asyncio.sleep(0, len(gateway.calls()) == 1))
    assert gateway.calls()[0]["code"] in ("DEADLINE_EXCEEDED", "CANCELLED")


async def test_guards(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """Too many streams are refused; idle ones keep no calls out; a revoked key ends its streams when they speak."""
    gateway = start_gateway(
        server.address,
        "--limits.max-concurrent-streams=2",
        "--limits.max-concurrent-calls=1",
        scopes=("predict:other",),
    )
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        streams = [call(gateway, channel) for _ in range(2)]
        for stream in streams:
            await stream.write(message(1))
            answer = await read(stream)
            assert (answer.error.code, answer.error.reason) == (7, "SCOPE_MISSING")
        third = call(gateway, channel)
        assert await third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with gateway.client() as client:
            await client.list_models()
        KeysFile().save(gateway.keys_file)
        await eventually(lambda: asyncio.sleep(0, any(line["event"] == "keys reloaded" for line in gateway.log())))
        await streams[0].write(message(1))
        assert await streams[0].code() is grpc.StatusCode.UNAUTHENTICATED
        streams[1].cancel()


async def test_half_close(shared_gateway: Gateway) -> None:
    """A stream that says nothing and ends is answered with nothing, and OK."""
    async with grpc.aio.insecure_channel(shared_gateway.address) as channel:
        stream = call(shared_gateway, channel)
        await stream.done_writing()
        assert [raw async for raw in stream] == []
        assert await stream.code() is grpc.StatusCode.OK


async def test_drain(gateway: Gateway, server: FakeModelServer) -> None:
    """At the end of the gateway a stream gets the answers that are under way."""
    server.delay = 0.5
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = call(gateway, channel)
        await stream.write(message(4))
        await stream.done_writing()
        await eventually(lambda: asyncio.sleep(0, bool(server.batches)))
        gateway.process._process.terminate()
        assert (await read(stream)).response.predictions[0].classification.label == "4"
        assert await stream.code() is grpc.StatusCode.OK
