"""What a model server can do wrong: callers get typed answers, and the gateway recovers by itself."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from serving.wire import codec
from serving.wire import tensorflow_serving_pb2 as tfs
from tensorgate import TensorgateError
from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually

PNG = digits.encode(digits.band(3))


async def failure(gateway: Gateway, **options: float) -> TensorgateError:
    """The error of a call that must fail."""
    async with gateway.client() as client:
        with pytest.raises(TensorgateError) as caught:
            await client.predict(PNG, **options)
    return caught.value


async def answers(gateway: Gateway) -> bool:
    """Whether a prediction succeeds."""
    async with gateway.client() as client:
        try:
            return (await client.predict(PNG)).label == "3"
        except TensorgateError:
            return False


@pytest.fixture
def broken(shared_server: FakeModelServer) -> Iterator[FakeModelServer]:
    """The shared server, whose answers are good again after the test."""
    yield shared_server
    shared_server.error = shared_server.garbage = None


async def test_restart(gateway: Gateway, server: FakeModelServer) -> None:
    """While the backend is down calls fail UNAVAILABLE at once; when it is back they succeed by themselves."""
    assert await answers(gateway)
    server.stop()
    await eventually(lambda: asyncio.to_thread(lambda: gateway.get("/readyz")[0] == 503))
    started = time.monotonic()
    error = await failure(gateway)
    assert time.monotonic() - started < 2.0
    assert (error.code, error.reason, error.retry_after) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE", 1.0)
    # Where the backend is, is nothing for callers.
    assert "127.0.0.1" not in error.message
    server.start()
    await eventually(lambda: answers(gateway))
    await eventually(lambda: asyncio.to_thread(lambda: gateway.get("/readyz")[0] == 200))


async def test_down_from_the_start(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """A gateway that starts before its backend opens its ports, says UNAVAILABLE, and finds the backend later."""
    server.stop()
    gateway = start_gateway(server.address)
    error = await failure(gateway)
    assert (error.code, error.reason) == ("UNAVAILABLE", "MODEL_NOT_READY")
    assert (await failure(gateway, version=1)).code == "UNAVAILABLE"
    server.start()
    await eventually(lambda: answers(gateway))


async def test_dying_under_a_call(gateway: Gateway, server: FakeModelServer) -> None:
    """A backend that dies under a call makes it UNAVAILABLE at once."""
    server.delay = 60.0
    pending = asyncio.create_task(failure(gateway))
    await eventually(lambda: asyncio.sleep(0, bool(server.batches)))
    started = time.monotonic()
    await asyncio.to_thread(server.stop)
    assert (await pending).code == "UNAVAILABLE"
    assert time.monotonic() - started < 2.0


async def test_slow(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """A backend that takes longer than the caller, or the gateway, will wait makes the call DEADLINE_EXCEEDED."""
    gateway = start_gateway(server.address, "--backend.timeout=0.3")
    server.delay = 60.0
    started = time.monotonic()
    error = await failure(gateway)
    assert (error.code, error.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert 0.25 < time.monotonic() - started < 2.0
    await eventually(lambda: asyncio.sleep(0, server.cancelled > 0))


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "not 10 numbers"),
        ({"probabilities": np.zeros((1, 7), np.float32)}, "not 10 numbers"),
        ({"probabilities": np.zeros((3, 10), np.float32)}, "answered 1 rows"),
        ({"probabilities": np.float32(1)}, "answered 1 rows"),
        ({"probabilities": np.full((1, 10), np.nan, np.float32)}, "NaN"),
    ],
)
async def test_garbage(
    shared_gateway: Gateway, broken: FakeModelServer, outputs: dict[str, np.ndarray], text: str
) -> None:
    """Outputs that are not what the contract says are INTERNAL, and say what they are."""
    broken.garbage = tfs.PredictResponse()
    for name, array in outputs.items():
        broken.garbage.outputs[name].CopyFrom(codec.to_proto(np.asarray(array)))
    error = await failure(shared_gateway)
    assert error.code == "INTERNAL"
    assert text in error.message


async def test_broken_tensor(shared_gateway: Gateway, broken: FakeModelServer) -> None:
    """A tensor whose shape lies is INTERNAL, and nothing of its size is allocated."""
    broken.garbage = tfs.PredictResponse()
    tensor = broken.garbage.outputs["probabilities"]
    tensor.dtype, tensor.float_val[:] = 1, [0.5]
    tensor.tensor_shape.dim.add(size=2**40)
    assert "broken tensor" in (await failure(shared_gateway)).message


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, "UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.UNIMPLEMENTED, "INTERNAL"),
        (grpc.StatusCode.PERMISSION_DENIED, "INTERNAL"),
    ],
)
async def test_error_codes(
    shared_gateway: Gateway, broken: FakeModelServer, code: grpc.StatusCode, expected: str
) -> None:
    """Every status of the backend has one of ours; only what concerns the request keeps its text."""
    broken.error = (code, "secret of the backend")
    error = await failure(shared_gateway)
    assert error.code == expected
    assert ("secret" in error.message) == (code is grpc.StatusCode.INVALID_ARGUMENT)


async def test_new_version(gateway: Gateway, server: FakeModelServer) -> None:
    """A new version answers as soon as it is there and found good; one that goes is no longer routed to."""
    model = server.models["digits"]
    model.versions = [1, 2]
    async with gateway.client() as client:

        async def version() -> int:
            return (await client.predict(PNG)).version

        await eventually(lambda: _equal(version, 2))
        assert (await client.predict(PNG, version=1)).version == 1
        # Dropped between two polls: the call is routed again instead of failing.
        model.versions = [1]
        assert await version() == 1
        model.versions = []
        await eventually(lambda: asyncio.to_thread(lambda: gateway.get("/readyz")[0] == 503))
        with pytest.raises(TensorgateError) as caught:
            await client.predict(PNG)
        assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "MODEL_NOT_READY")


async def _equal(value: object, expected: object) -> bool:
    return await value() == expected  # type: ignore[operator]


async def test_refused_version(gateway: Gateway, server: FakeModelServer) -> None:
    """A version whose contract does not hold is not routed to, and GetModel says why."""
    good = digits.contract()
    skewed = good.golden[0].model_copy(update={"tensor": np.ones((28, 28), "<f4").tobytes()})
    cases = [
        (digits.contract(golden=(skewed,)).model_dump_json(), "golden vector 0 differs by"),
        ("{}", "not a valid contract"),
        ("", "not to be had in version 1"),
        (digits.contract(signature="other").model_dump_json(), "names the signature 'other'"),
        (digits.contract(preprocessing=[{"name": "decode"}, {"name": "polish"}]).model_dump_json(), "'polish'"),
    ]
    for number, (text, expected) in enumerate(cases, start=2):
        server.models = {"digits": FakeModel(versions=[1, number], contract=text)}
        async with gateway.client() as client:

            async def detail(number: int = number, client: object = client) -> str:
                model = await client.get_model()  # type: ignore[attr-defined]
                return "".join(version.state_detail for version in model.message.versions if version.version == number)

            assert expected in await eventually(detail)
            assert (await client.predict(PNG)).version == 1
            with pytest.raises(TensorgateError) as caught:
                await client.predict(PNG, version=number)
            assert caught.value.reason == "VERSION_NOT_READY"


async def test_model_without_contract(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """A SavedModel without a contract takes tensors and gives tensors; an image is refused with what it takes."""
    server.models["digits"].contract = None
    gateway = start_gateway(server.address)
    async with gateway.client() as client:
        answer = await client.predict(np.eye(28, dtype=np.float32))
        assert answer.outputs["probabilities"].numpy().shape == (10,)
        assert answer.id
        with pytest.raises(TensorgateError, match="'image': float32"):
            await client.predict(PNG)


async def test_batching(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """Under load requests share upstream calls, and each gets its own answer; a bad row hurts only its sender."""
    gateway = start_gateway(server.address, "--batching.max-in-flight=1")
    server.delay = 0.1
    images = [digits.encode(digits.band(digit)) for digit in range(10)]
    poison = np.full((28, 28), 666, np.float32)
    async with gateway.client() as client:
        labels = await asyncio.gather(*(client.predict(image) for image in images * 3))
        assert [answer.label for answer in labels] == [str(digit) for digit in range(10)] * 3
        assert len(server.batches) <= 4
        assert sum(server.batches) == 30
        mixed = await asyncio.gather(
            client.predict(images[1]),
            client.predict(images[2]),
            client.predict(poison),
            client.predict(images[4]),
            return_exceptions=True,
        )
    assert isinstance(mixed[2], TensorgateError)
    assert mixed[2].code == "INVALID_ARGUMENT"
    assert [getattr(answer, "label", None) for answer in mixed] == ["1", "2", None, "4"]


@pytest.mark.parametrize(
    ("flags", "admitted", "message"),
    [
        (
            ["--batching.max-in-flight=1", "--batching.max-rows=1", "--batching.max-queued-rows=2"],
            3,
            "rows are waiting",
        ),
        (["--limits.max-concurrent-calls=4", "--limits.max-waiting-calls=0"], 4, "4 calls are being answered"),
    ],
)
async def test_overload(
    start_gateway: StartGateway, server: FakeModelServer, flags: list[str], admitted: int, message: str
) -> None:
    """More than may wait, or be answered at once, is refused at once with RESOURCE_EXHAUSTED and when to try again."""
    gateway = start_gateway(server.address, *flags)
    server.hold()
    async with gateway.client() as client:
        calls = [asyncio.create_task(client.predict(PNG)) for _ in range(20)]
        await eventually(lambda: asyncio.sleep(0, sum(call.done() for call in calls) >= 20 - admitted))
        server.release()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, TensorgateError)]
    assert len(outcomes) - len(refused) == admitted
    for error in refused:
        assert (error.code, error.reason, error.retry_after) == ("RESOURCE_EXHAUSTED", "OVERLOADED", 0.1)
        assert message in error.message


async def test_a_killed_gateway_is_gone(gateway: Gateway, server: FakeModelServer) -> None:
    """The tests' own watchdog: a killed gateway makes calls fail, so that the ones above cannot pass by accident."""
    os.kill(gateway.process.pid, signal.SIGKILL)
    await eventually(lambda: asyncio.sleep(0, not gateway.process.running))
    assert (await failure(gateway)).code == "UNAVAILABLE"


def test_port_taken(gateway: Gateway, transport: str) -> None:
    """A port that is taken ends the start with one clear line."""
    for flags in (
        (f"--listen={gateway.address}", "--http=127.0.0.1:0"),
        ("--listen=127.0.0.1:0", f"--http={gateway.http}"),
    ):
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "gateway", "--models=digits", f"--transport={transport}"),
                *(f"--auth.keys-file={gateway.keys_file}", *flags),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert ended.returncode == 1
        assert "cannot listen on 127.0.0.1" in ended.stderr
        assert "Traceback" not in ended.stderr
