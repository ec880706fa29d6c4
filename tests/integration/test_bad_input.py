"""What a caller can do wrong: each gets its status code, details and a message that says what was expected."""

import asyncio
import struct
import zlib
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from tensorgate import TensorgateError
from tensorgate.requests import pixels
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import tensor_pb2
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.integration.conftest import Gateway, StartGateway, eventually

PNG = digits.encode(digits.band(3))
JPEG = digits.encode(digits.band(3), "JPEG")
FLOAT = tensor_pb2.DATA_TYPE_FLOAT32


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def tensor(**fields: Any) -> pb.Instance:
    """An instance with a tensor of these fields."""
    return pb.Instance(tensor=tensor_pb2.Tensor(**fields))


BAD_INSTANCES = [
    ("no bytes", b"", "IMAGE_EMPTY", "PNG, JPEG"),
    ("not an image", b"%PDF-1.7 hello", "IMAGE_UNREADABLE", "PNG, JPEG"),
    ("text", b"hello" * 1000, "IMAGE_UNREADABLE", "PNG, JPEG"),
    ("PNG cut short", PNG[: len(PNG) // 2], "IMAGE_UNREADABLE", "cut short"),
    ("JPEG cut short", JPEG[: len(JPEG) // 2], "IMAGE_UNREADABLE", "cut short"),
    ("50 megapixels", png_header(10_000, 5_000), "IMAGE_TOO_LARGE", "20000000 at most"),
    ("a bomb", png_header(2**31 - 1, 2**31 - 1), "IMAGE_TOO_LARGE", "20000000 pixels at most"),
    ("nothing", pb.Instance(), "INSTANCE_EMPTY", "expected image, pixels, tensor, tensors or row"),
    ("wrong shape", np.zeros((14, 14), np.float32), "TENSOR_SHAPE_MISMATCH", "expected [28, 28]"),
    ("a batch", np.zeros((1, 28, 28), np.float32), "TENSOR_SHAPE_MISMATCH", "no batch dimension"),
    ("wrong dtype", np.zeros((28, 28), np.float64), "TENSOR_TYPE_MISMATCH", "expected float32"),
    ("NaN", np.full((28, 28), np.nan, np.float32), "TENSOR_NOT_FINITE", "expected finite numbers"),
    ("infinity", np.full((28, 28), np.inf, np.float32), "TENSOR_NOT_FINITE", "expected finite numbers"),
    ("wrong name", {"picture": np.zeros((28, 28), np.float32)}, "TENSOR_NAMES_MISMATCH", "expected 'image'"),
    ("no dtype", tensor(shape=[1]), "TENSOR_TYPE_UNKNOWN", "dtype"),
    ("negative size", tensor(dtype=FLOAT, shape=[-1, 28]), "TENSOR_MALFORMED", "impossible"),
    ("huge shape", tensor(dtype=FLOAT, shape=[2**40, 2**40]), "TENSOR_MALFORMED", "needs"),
    ("hidden huge shape", tensor(dtype=FLOAT, shape=[0, 2**62, 2**62]), "TENSOR_MALFORMED", ""),
    ("too few bytes", tensor(dtype=FLOAT, shape=[28, 28], data=b"\0" * 8), "TENSOR_MALFORMED", "needs 3136 bytes"),
    ("two contents", tensor(dtype=FLOAT, shape=[1], data=b"\0" * 4, float_values=[1]), "TENSOR_MALFORMED", "one of"),
    ("ints as floats", tensor(dtype=FLOAT, shape=[1], int_values=[1]), "TENSOR_MALFORMED", "expected data or"),
    (
        "out of range",
        tensor(dtype=tensor_pb2.DATA_TYPE_UINT8, shape=[1], int_values=[256]),
        "TENSOR_MALFORMED",
        "range",
    ),
    ("pixels of no size", pb.Instance(pixels=pb.Pixels(data=b"")), "PIXELS_MALFORMED", "sides above 0"),
    ("pixels too few", pb.Instance(pixels=pb.Pixels(data=b"1", height=9, width=9)), "PIXELS_MALFORMED", "81 bytes"),
    (
        "five channels",
        pb.Instance(pixels=pb.Pixels(data=b"12345", height=1, width=1, channels=5)),
        "PIXELS_MALFORMED",
        "1, 3 or 4",
    ),
]


async def failure(gateway: Gateway, instance: Any = PNG, **options: Any) -> TensorgateError:
    """The error of a call that must fail; the log has one line for it, with the request id and without a traceback."""
    before = len(gateway.calls())
    async with gateway.client(**options.pop("client", {})) as client:
        with pytest.raises(TensorgateError) as caught:
            await client.predict(instance, **options)
    error = caught.value
    lines = gateway.calls()[before:]
    assert [line["request_id"] for line in lines] == [error.request_id]
    assert lines[0]["code"] == error.code
    assert lines[0]["reason"] == error.reason
    assert "Traceback" not in error.message
    return error


async def test_bad_instances(shared_gateway: Gateway) -> None:
    """A bad instance is INVALID_ARGUMENT; the details name it and the message says what was expected."""
    for name, instance, reason, expected in BAD_INSTANCES:
        error = await failure(shared_gateway, instance)
        assert (error.code, error.reason, error.field) == ("INVALID_ARGUMENT", reason, "instances[0]"), name
        assert expected in error.message, name
        assert error.retry_after is None, name


async def test_a_bad_instance_spares_its_neighbours(shared_gateway: Gateway) -> None:
    """In a batch each bad instance holds its own error and the others are answered."""
    instances: list[Any] = [PNG, *(instance for _, instance, _, _ in BAD_INSTANCES), JPEG]
    async with shared_gateway.client() as client:
        answers = await client.predict_batch(instances)
    assert [answer.error.reason if answer.error else answer.label for answer in answers] == [
        "3",
        *(reason for _, _, reason, _ in BAD_INSTANCES),
        "3",
    ]
    assert all(bool(answer.id) != bool(answer.error) for answer in answers)


async def test_no_valid_key(shared_gateway: Gateway) -> None:
    """Without a valid key every method is UNAUTHENTICATED, whether or not the model exists."""
    cases = [
        ([], "CREDENTIAL_MISSING"),
        ([("authorization", "Basic dXNlcjpwYXNz")], "CREDENTIAL_MISSING"),
        ([("authorization", "Bearer wrong")], "CREDENTIAL_INVALID"),
        ([("authorization", "Bearer tg_00000000_wrong")], "CREDENTIAL_INVALID"),
        ([("x-api-key", "tg_")], "CREDENTIAL_INVALID"),
    ]
    bodies = (pb.PredictRequest(model="digits"), pb.PredictRequest(model="none"))
    async with grpc.aio.insecure_channel(shared_gateway.address) as channel:
        for metadata, reason in cases:
            for method in ("Predict", "GetModel", "ListModels"):
                # The last is no message at all: nobody without a key has anything parsed.
                for raw in (*(body.SerializeToString() for body in bodies), b"\xff"):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await channel.unary_unary(f"/tensorgate.v1.InferenceService/{method}")(raw, metadata=metadata)
                    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
                    assert "authorization: Bearer" in (caught.value.details() or "")
                    assert shared_gateway.calls()[-1]["reason"] == reason


async def test_x_api_key(shared_gateway: Gateway) -> None:
    """The key may come as x-api-key too."""
    async with grpc.aio.insecure_channel(shared_gateway.address) as channel:
        call = channel.unary_unary("/tensorgate.v1.InferenceService/ListModels")
        raw = await call(b"", metadata=[("x-api-key", shared_gateway.key)])
    assert [model.name for model in pb.ListModelsResponse.FromString(raw).models] == ["digits"]


async def test_unknown_names(shared_gateway: Gateway) -> None:
    """An unknown model, version or signature is NOT_FOUND, and the message names those there are."""
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        ({"model": "cats"}, "MODEL_NOT_FOUND", "model", "'cats'"),
        ({"version": 9}, "VERSION_NOT_FOUND", "version", "there are: 1"),
        ({"version": -1}, "VERSION_NOT_FOUND", "version", "there are: 1"),
        ({"signature": "other"}, "SIGNATURE_NOT_FOUND", "signature", "there are: serving_default"),
        # The gateway's own door to the contract is not for callers.
        ({"signature": "contract"}, "SIGNATURE_NOT_FOUND", "signature", "there are: serving_default"),
    ]
    for options, reason, field, expected in cases:
        error = await failure(shared_gateway, **options)
        assert (error.code, error.reason, error.field) == ("NOT_FOUND", reason, field)
        assert expected in error.message


async def test_bad_arguments(shared_gateway: Gateway) -> None:
    """Arguments outside their range are INVALID_ARGUMENT."""
    assert (await failure(shared_gateway, top_k=-1)).field == "top_k"
    async with grpc.aio.insecure_channel(shared_gateway.address) as channel:
        metadata = [("authorization", f"bearer {shared_gateway.key}")]
        for method, raw, text in (
            ("Predict", b"\xff\xff", "not a message"),
            ("Predict", b"", "no instances"),
            ("ListModels", pb.ListModelsRequest(page_size=-1).SerializeToString(), "page_size"),
            ("ListModels", pb.ListModelsRequest(page_token="x").SerializeToString(), "page_token"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/tensorgate.v1.InferenceService/{method}")(raw, metadata=metadata)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert text in (caught.value.details() or "")


async def test_request_too_large(shared_gateway: Gateway) -> None:
    """A request over the limit, in bytes or in instances, is RESOURCE_EXHAUSTED and says the limit."""
    error = await failure(shared_gateway, b"\0" * (16 << 20))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE")
    assert "expected 16777216 at most" in error.message
    async with shared_gateway.client() as client:
        with pytest.raises(TensorgateError, match="expected 256 at most"):
            await client.predict_batch([PNG] * 257)


async def test_scopes(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """A key without the scope gets PERMISSION_DENIED for a model that exists and for one that does not, alike."""
    gateway = start_gateway(server.address, models="digits,letters", scopes=("predict:letters",))
    messages = {(await failure(gateway, model=name)).message for name in ("digits", "nothing")}
    assert len(messages) == 1
    error = await failure(gateway, model="digits")
    assert (error.code, error.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    async with gateway.client() as client:
        assert [model.name for model in await client.list_models()] == ["letters"]


async def test_an_expired_deadline_costs_nothing(gateway: Gateway, server: FakeModelServer) -> None:
    """A call whose deadline passes is DEADLINE_EXCEEDED, and its upstream call is cancelled."""
    server.delay = 5.0
    async with gateway.client(timeout=0.2) as client:
        with pytest.raises(TensorgateError) as caught:
            await client.predict(PNG)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert server.timeouts[0] is not None
    assert server.timeouts[0] < 0.25
    await eventually(lambda: asyncio.sleep(0, server.cancelled == 1))
    # The caller's clock started first: that it hung up may be known here before its time is over.
    await eventually(lambda: asyncio.sleep(0, len(gateway.calls()) == 1))
    assert gateway.calls()[0]["code"] in ("DEADLINE_EXCEEDED", "CANCELLED")


async def test_a_caller_who_leaves(gateway: Gateway, server: FakeModelServer) -> None:
    """A call that its caller cancels is logged as CANCELLED, its upstream call is cancelled, and its slot is free."""
    server.delay = 60.0
    async with gateway.client() as client:
        leaving = [asyncio.create_task(client.predict(PNG)) for _ in range(3)]
        await eventually(lambda: asyncio.sleep(0, len(server.batches) >= 1))
        for task in leaving:
            task.cancel()
        await eventually(lambda: asyncio.sleep(0, [line["code"] for line in gateway.calls()] == ["CANCELLED"] * 3))
        await eventually(lambda: asyncio.sleep(0, server.cancelled == len(server.batches)))
        server.delay = 0.0
        assert (await client.predict(PNG)).label == "3"


async def test_pixels(shared_gateway: Gateway) -> None:
    """Raw pixels are preprocessed as a decoded image is."""
    async with shared_gateway.client() as client:
        assert (await client.predict(pixels(digits.band(6)))).label == "6"
        assert (await client.predict(pixels(np.stack([digits.band(2)] * 3, axis=-1)))).label == "2"


async def test_request_id(shared_gateway: Gateway) -> None:
    """The caller's request id is kept if it can stand in a log, else replaced; the answer carries it."""
    async with grpc.aio.insecure_channel(shared_gateway.address) as channel:
        call = channel.unary_unary("/tensorgate.v1.InferenceService/ListModels")
        for given, kept in (("abc-123", True), ("a b", False), ("x" * 129, False)):
            outgoing = call(b"", metadata=[("authorization", f"Bearer {shared_gateway.key}"), ("x-request-id", given)])
            trailing = dict(await outgoing.trailing_metadata())
            assert (trailing["x-request-id"] == given) is kept
            assert shared_gateway.calls()[-1]["request_id"] == trailing["x-request-id"]
