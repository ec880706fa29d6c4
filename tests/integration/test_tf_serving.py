"""TensorFlow Serving's protocol through a real gateway: what is batched, what is passed on, in whose words it fails.

That the gateway answers as the server does is what `tests/contract` shows.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from serving.wire import codec
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.tensorflow_serving_pb2_grpc import PredictionServiceStub
from tests.fakes.model_server import FakeModel, FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually

IMAGE = np.zeros((1, 28, 28), np.float32)
# Number 1023, the integer 0.
UNKNOWN_FIELD = b"\xf8\x3f\x00"


def request(image: np.ndarray = IMAGE, *, outputs: tuple[str, ...] = (), **spec: Any) -> tfs.PredictRequest:
    """A Predict of one image."""
    made = tfs.PredictRequest(model_spec=tfs.ModelSpec(**{"name": "digits"} | spec), output_filter=outputs)
    made.inputs["image"].CopyFrom(codec.to_proto(image))
    return made


@pytest.fixture
async def stub(gateway: Gateway) -> AsyncIterator[Any]:
    """PredictionService with the gateway's key."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        predictions = PredictionServiceStub(channel)
        metadata = [("authorization", f"Bearer {gateway.key}")]
        yield lambda name, message: getattr(predictions, name)(message, metadata=metadata, timeout=TIMEOUT)


async def failure(stub: Any, name: str, message: Any) -> tuple[str, str]:
    """Code and text of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub(name, message)
    return caught.value.code().name, caught.value.details() or ""


async def test_instances_share_calls(stub: Any, server: FakeModelServer) -> None:
    """Where a contract says that rows are instances, requests share upstream calls; each gets its own rows back."""
    server.delay = 0.2
    images = np.zeros((12, 28, 28), np.float32)
    for place in range(12):
        images[place, 3 * (place % 8) : 3 * (place % 8) + 3] = 1
    answers = await asyncio.gather(*(stub("Predict", request(images[place : place + 1])) for place in range(12)))
    assert sum(server.batches) == 12
    assert len(server.batches) < 6
    for place, answer in enumerate(answers):
        assert answer.model_spec == tfs.ModelSpec(name="digits", signature_name="serving_default", version={"value": 1})
        # In the typed field, as TensorFlow Serving answers and clients read it.
        assert int(np.argmax(answer.outputs["probabilities"].float_val)) == place % 8
        assert [dim.size for dim in answer.outputs["probabilities"].tensor_shape.dim] == [1, 10]


async def test_what_is_unusual_goes_alone(stub: Any, gateway: Gateway, server: FakeModelServer) -> None:
    """A field that the gateway does not know reaches the backend, with the routed version and nothing else new."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        raw = request(signature_name="serving_default").SerializeToString() + UNKNOWN_FIELD
        await call(raw, metadata=[("authorization", f"Bearer {gateway.key}")], timeout=TIMEOUT)
    assert server.last is not None
    assert [field.field_number for field in UnknownFieldSet(server.last)] == [1023]
    assert server.last.model_spec == tfs.ModelSpec(
        name="digits", signature_name="serving_default", version={"value": 1}
    )
    assert codec.to_numpy(server.last.inputs["image"]).shape == (1, 28, 28)
    # NaN is the model's business here, and nobody else's.
    await stub("Predict", request(np.full((1, 28, 28), np.nan, np.float32)))
    assert np.isnan(codec.to_numpy(server.last.inputs["image"])).all()


async def test_output_filter(stub: Any) -> None:
    """Only what is asked for comes back."""
    answer = await stub("Predict", request(outputs=("probabilities",)))
    assert list(answer.outputs) == ["probabilities"]


async def test_labels(stub: Any, server: FakeModelServer) -> None:
    """A label stands for the version that the backend says, and follows when it moves."""
    model = server.models["digits"]
    model.versions, model.labels = [1, 2], {"stable": 1}

    async def version() -> int:
        answer: tfs.PredictResponse = await stub("Predict", request(version_label="stable"))
        return answer.model_spec.version.value

    assert await version() == 1
    model.labels = {"stable": 2}

    async def moved() -> bool:
        return await version() == 2

    await eventually(moved)
    code, text = await failure(stub, "Predict", request(version_label="none"))
    assert (code, text) == ("INVALID_ARGUMENT", "Unrecognized servable version label: none")


async def test_the_contract_is_not_for_callers(stub: Any) -> None:
    """The signature that carries the contract is neither listed nor called."""
    message = tfs.GetModelMetadataRequest(model_spec={"name": "digits"}, metadata_field=["signature_def"])
    answer = await stub("GetModelMetadata", message)
    signatures = tfs.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert list(signatures.signature_def) == ["serving_default"]
    expected = ("FAILED_PRECONDITION", 'Serving signature key "contract" not found.')
    assert await failure(stub, "Predict", request(signature_name="contract")) == expected


async def test_in_the_words_of_the_backend(stub: Any, server: FakeModelServer) -> None:
    """An error of the backend's keeps its code and text, for requests that shared a call too."""
    refused = request(np.full((1, 28, 28), 666, np.float32))
    expected = ("INVALID_ARGUMENT", "a row that the model refuses")
    assert await failure(stub, "Predict", refused) == expected
    server.delay = 0.2
    calls = [asyncio.ensure_future(stub("Predict", request())) for _ in range(4)]
    assert await failure(stub, "Predict", refused) == expected
    await asyncio.gather(*calls)
    for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.FAILED_PRECONDITION):
        server.error = (code, "what the server says")
        assert await failure(stub, "Predict", request()) == (code.name, "what the server says")
    assert (await failure(stub, "Classify", tfs.ClassificationRequest(model_spec={"name": "digits"})))[
        0
    ] == "UNIMPLEMENTED"


async def test_long_names(stub: Any, gateway: Gateway) -> None:
    """A name of any length is answered in a text that fits in the trailers and in the log."""
    code, text = await failure(stub, "Predict", request(name="é" * 100_000))
    assert (code, text[-12:]) == ("NOT_FOUND", "...TRUNCATED")
    assert len(text) < 1100
    assert gateway.calls()[-1]["message"] == text


async def test_no_backend(stub: Any, gateway: Gateway, server: FakeModelServer) -> None:
    """A backend that is away is UNAVAILABLE, and its address stays with us; a hanging one is not waited for."""
    server.delay = 60.0
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(
                request().SerializeToString() + UNKNOWN_FIELD,
                metadata=[("authorization", f"Bearer {gateway.key}")],
                timeout=0.5,
            )
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: asyncio.sleep(0, server.cancelled == 1))
    server.stop()
    code, text = await failure(stub, "Predict", request())
    assert code == "UNAVAILABLE"
    assert server.address not in text


async def test_a_version_that_went(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """A version that the backend dropped since the last look is replaced by what there is now."""
    server.models["plain"] = FakeModel(versions=[1, 2])
    gateway = start_gateway(server.address, "--backend.poll-interval=60", models="digits,plain")
    server.models["plain"].versions = [1]
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        predict = PredictionServiceStub(channel).Predict
        metadata = [("authorization", f"Bearer {gateway.key}")]
        await predict(request(name="plain"), metadata=metadata, timeout=TIMEOUT)
        assert server.last is not None
        assert server.last.model_spec.version.value == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await predict(request(name="plain", version={"value": 2}), metadata=metadata, timeout=TIMEOUT)
    assert caught.value.details() == "Servable not found for request: Specific(plain, 2)"
