"""The Open Inference Protocol through a real gateway, by tritonclient as it is and by plain stubs."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from serving.wire import open_inference_pb2 as oip
from serving.wire.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tensorgate.v1 import inference_service_pb2 as pb
from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer, signature_def
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually

DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": object,
}


def tensor(name: str, array: np.ndarray) -> triton.InferInput:
    """An input as tritonclient makes it."""
    datatype = next(kind for kind, dtype in DTYPES.items() if array.dtype == dtype)
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def images(*digits_: int) -> np.ndarray:
    """Encoded pictures of digits."""
    return np.array([digits.encode(digits.band(digit)) for digit in digits_], object)


class Triton:
    """A tritonclient with the gateway's key, which it takes as headers."""

    def __init__(self, gateway: Gateway) -> None:
        self.client = triton.InferenceServerClient(gateway.address)
        self.headers = {"authorization": f"Bearer {gateway.key}"}

    def infer(self, *inputs: triton.InferInput, model: str = "digits", **options: Any) -> triton.InferResult:
        """The answer of a model."""
        return self.client.infer(model, list(inputs), headers=self.headers, client_timeout=TIMEOUT, **options)


@pytest.fixture(scope="module")
def client(shared_gateway: Gateway) -> Triton:
    """A tritonclient for the shared gateway."""
    return Triton(shared_gateway)


@pytest.fixture
async def stub(shared_gateway: Gateway) -> AsyncIterator[Any]:
    """Calls ModelInfer with the shared gateway's key."""
    async with grpc.aio.insecure_channel(shared_gateway.address) as channel:
        method = GRPCInferenceServiceStub(channel).ModelInfer
        yield lambda request: method(request, metadata=[("authorization", f"Bearer {shared_gateway.key}")])


def test_what_there_is(client: Triton) -> None:
    """The gateway and its model are live, ready and described."""
    asked, headers = client.client, client.headers
    assert asked.is_server_live(headers)
    assert asked.is_server_ready(headers)
    assert asked.is_model_ready("digits", headers=headers)
    assert asked.is_model_ready("digits", "1", headers=headers)
    assert asked.get_server_metadata(headers).name == "tensorgate"
    model = asked.get_model_metadata("digits", headers=headers)
    assert (model.name, list(model.versions), model.platform) == ("digits", ["1"], "tensorflow_savedmodel")
    described = [(entry.name, entry.datatype, list(entry.shape)) for entry in (*model.inputs, *model.outputs)]
    assert described == [
        ("image", "FP32", [-1, 28, 28]),
        ("label", "BYTES", [-1]),
        ("confidence", "FP32", [-1]),
        ("prediction_id", "BYTES", [-1]),
        ("probabilities", "FP32", [-1, 10]),
    ]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_images(client: Triton, shape: tuple[int, ...]) -> None:
    """Encoded images go in as BYTES, in the place of the tensor that the contract makes of them."""
    answer = client.infer(tensor("image", images(3, 1, 4).reshape(shape)), request_id="r-1")
    assert answer.get_response().id == "r-1"
    assert answer.get_response().model_version == "1"
    assert answer.as_numpy("label").tolist() == [b"3", b"1", b"4"]
    np.testing.assert_allclose(answer.as_numpy("confidence"), [0.91] * 3, rtol=1e-6)
    assert answer.as_numpy("probabilities").argmax(axis=1).tolist() == [3, 1, 4]
    assert len(set(answer.as_numpy("prediction_id").tolist())) == 3


def test_tensors(client: Triton, shared_gateway: Gateway) -> None:
    """Tensors go in as the model takes them; only what is asked for comes out."""
    array = np.zeros((2, 28, 28), np.float32)
    array[0, 21:24] = array[1, 3:6] = 1
    answer = client.infer(tensor("image", array), outputs=[triton.InferRequestedOutput("label")])
    assert answer.as_numpy("label").tolist() == [b"7", b"1"]
    assert [output.name for output in answer.get_response().outputs] == ["label"]
    line = shared_gateway.calls()[-1]
    assert (line["model"], line["version"], line["instances"]) == ("digits", 1, 2)


async def test_typed_contents(stub: Any) -> None:
    """Who asks in typed contents is answered in them."""
    request = oip.ModelInferRequest(model_name="digits")
    request.inputs.add(name="image", datatype="FP32", shape=(1, 28, 28)).contents.fp32_contents.extend([0.5] * 784)
    request.outputs.add(name="label")
    request.outputs.add(name="probabilities")
    answer = await stub(request)
    assert not answer.raw_output_contents
    assert answer.outputs[0].contents.bytes_contents == [b"0"]
    assert list(answer.outputs[1].shape) == [1, 10]
    assert len(answer.outputs[1].contents.fp32_contents) == 10
    request = oip.ModelInferRequest(model_name="digits")
    request.inputs.add(name="image", datatype="BYTES", shape=(2,)).contents.bytes_contents.extend(images(8, 9))
    assert (await stub(request)).outputs[0].contents.bytes_contents == [b"8", b"9"]


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_every_type(start_gateway: StartGateway, raw: bool) -> None:
    """Every datatype goes in and comes out as it was; a model without a contract is asked for tensors alone."""
    arrays = {kind: np.array([[0, 1, 100]], np.uint8).astype(dtype) for kind, dtype in DTYPES.items()}
    arrays["BYTES"] = np.array([[b"", b"a\0b", "é".encode()]], object)
    if not raw:
        del arrays["FP16"]
    specs = {kind: (DTYPES[kind], (-1, 3)) for kind in arrays}
    outputs = {f"{kind}_out": spec for kind, spec in specs.items()}
    server = FakeModelServer(wide=FakeModel(signatures={"serving_default": signature_def(specs, outputs)}))
    server.start()
    try:
        gateway = start_gateway(server.address, models="wide")
        if raw:
            answer = Triton(gateway).infer(*(tensor(*item) for item in arrays.items()), model="wide")
            answers = {kind: answer.as_numpy(f"{kind}_out") for kind in arrays}
        else:
            answers = typed_answers(gateway, arrays)
    finally:
        server.close()
    for kind, array in arrays.items():
        np.testing.assert_array_equal(answers[kind], array)
        assert answers[kind].dtype == array.dtype


def typed_answers(gateway: Gateway, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers to arrays that go as typed contents."""
    fields = {"BOOL": "bool", "BYTES": "bytes", "FP32": "fp32", "FP64": "fp64", "INT64": "int64", "UINT64": "uint64"}
    request = oip.ModelInferRequest(model_name="wide")
    for kind, array in arrays.items():
        made = request.inputs.add(name=kind, datatype=kind, shape=array.shape)
        field = fields.get(kind) or ("uint" if kind.startswith("U") else "int")
        getattr(made.contents, f"{field}_contents").extend(array.ravel().tolist())
    with grpc.insecure_channel(gateway.address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(
            request, timeout=TIMEOUT, metadata=[("authorization", f"Bearer {gateway.key}")]
        )
    return {
        output.datatype: np.array(output.contents.ListFields()[0][1], DTYPES[output.datatype]).reshape(output.shape)
        for output in answer.outputs
    }


def request(*inputs: dict[str, Any], **fields: Any) -> oip.ModelInferRequest:
    """A request of inputs that are the one right input but for some fields."""
    right = {"name": "image", "datatype": "FP32", "shape": (1, 28, 28)}
    return oip.ModelInferRequest(
        **{"model_name": "digits", "inputs": [right | given for given in inputs], "raw_input_contents": [b"\0" * 3136]}
        | fields
    )


FP32 = {"fp32_contents": [0.0] * 784}
SHARED = {"shared_memory_region": oip.InferParameter(string_param="r")}
NAN = np.full(784, np.nan, np.float32).tobytes()
BAD_REQUESTS = [
    (request({}, model_name="cats"), "NOT_FOUND", "serves no model called 'cats'"),
    (request({}, model_version="9"), "NOT_FOUND", "no version 9"),
    (request({}, model_version="latest"), "INVALID_ARGUMENT", "expected a number above 0"),
    (request({}, model_version="0"), "INVALID_ARGUMENT", "expected a number above 0"),
    (request({}, model_version="9" * 5000), "INVALID_ARGUMENT", "expected a number above 0"),
    (request({}, parameters={"signature_name": oip.InferParameter(string_param="x")}), "NOT_FOUND", "no signature 'x'"),
    (request({}, parameters={"signature_name": oip.InferParameter(string_param="contract")}), "NOT_FOUND", "contract"),
    (request(), "INVALID_ARGUMENT", "0 inputs and 1 raw_input_contents"),
    (request({}, {}), "INVALID_ARGUMENT", "2 inputs and 1 raw_input_contents"),
    (request({}, {}, raw_input_contents=[b"\0" * 3136] * 2), "INVALID_ARGUMENT", "comes twice"),
    (request(raw_input_contents=[]), "INVALID_ARGUMENT", "expected 'image': float32 [-1, 28, 28]"),
    (request({"name": "picture"}), "INVALID_ARGUMENT", "expected 'image'"),
    (request({"datatype": "FLOAT"}), "INVALID_ARGUMENT", "expected one of BOOL"),
    (request({"datatype": "INT32"}), "INVALID_ARGUMENT", "expected float32"),
    (request({"shape": (28, 28)}), "INVALID_ARGUMENT", "expected [-1, 28, 28]"),
    (request({"shape": (1, 28, 27)}), "INVALID_ARGUMENT", "needs 3024 bytes, there are 3136"),
    (request({"shape": (-1, 28, 28)}), "INVALID_ARGUMENT", "impossible"),
    (request({"shape": (2**40, 2**40)}), "INVALID_ARGUMENT", "needs"),
    (request({"shape": (0, 28, 28)}, raw_input_contents=[b""]), "INVALID_ARGUMENT", ""),
    (request({"shape": (0, 2**62, 2**62)}, raw_input_contents=[b""]), "INVALID_ARGUMENT", ""),
    (request({"contents": FP32}), "INVALID_ARGUMENT", "beside raw_input_contents"),
    (request({"contents": {"int_contents": [1]}}, raw_input_contents=[]), "INVALID_ARGUMENT", "contents.fp32_contents"),
    (request({"datatype": "FP16", "contents": FP32}, raw_input_contents=[]), "INVALID_ARGUMENT", "raw_input_contents"),
    (
        request({"datatype": "UINT8", "shape": (1,), "contents": {"uint_contents": [256]}}, raw_input_contents=[]),
        "INVALID_ARGUMENT",
        "range of UINT8",
    ),
    (request({"parameters": SHARED}), "INVALID_ARGUMENT", "shared memory"),
    (request({}, raw_input_contents=[NAN]), "INVALID_ARGUMENT", "finite"),
    (request({}, outputs=[{"name": "x"}]), "INVALID_ARGUMENT", "there are: label, confidence"),
    (
        request({}, outputs=[{"name": "label", "parameters": {"classification": oip.InferParameter(int64_param=3)}}]),
        "INVALID_ARGUMENT",
        "'classification' is not supported",
    ),
    (
        request({"datatype": "BYTES", "shape": (1,)}, raw_input_contents=[b"\xff\0\0\0abc"]),
        "INVALID_ARGUMENT",
        "cut short",
    ),
    (request({"datatype": "BYTES", "shape": (1,)}, raw_input_contents=[b"\1"]), "INVALID_ARGUMENT", "cut short"),
    (request({"datatype": "BYTES", "shape": (2,)}, raw_input_contents=[bytes(4)]), "INVALID_ARGUMENT", "2 elements"),
    (request({"datatype": "BYTES", "shape": (1,)}, raw_input_contents=[bytes(4)]), "INVALID_ARGUMENT", "PNG, JPEG"),
    (request({"datatype": "BYTES", "shape": (257,)}, raw_input_contents=[bytes(4 * 257)]), "RESOURCE_EXHAUSTED", "256"),
    (
        request({"shape": (257, 28, 28)}, raw_input_contents=[bytes(257 * 3136)]),
        "RESOURCE_EXHAUSTED",
        "expected 256 at most",
    ),
]


async def test_bad_requests(stub: Any, shared_gateway: Gateway) -> None:
    """What is wrong has the protocol's code and a message that says what was expected."""
    for wrong, code, text in BAD_REQUESTS:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(wrong)
        assert caught.value.code().name == code, wrong
        assert text in (caught.value.details() or ""), wrong
        assert shared_gateway.calls()[-1]["code"] == code


def test_a_bad_image_fails_the_batch_and_is_named(client: Triton) -> None:
    """The protocol has no place for the error of one row: the request fails, and says which row."""
    with pytest.raises(InferenceServerException, match="PNG, JPEG") as caught:
        client.infer(tensor("image", np.array([*images(1), b"x"], object)))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


async def test_not_ready(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """Without a backend nothing is ready, and a request is UNAVAILABLE."""
    server.models["late"] = FakeModel(versions=[])
    gateway = start_gateway(server.address, models="digits,late")
    headers = {"authorization": f"Bearer {gateway.key}"}
    asked = triton.InferenceServerClient(gateway.address)
    assert not asked.is_server_ready(headers)
    assert asked.is_model_ready("digits", headers=headers)
    assert not asked.is_model_ready("late", headers=headers)
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        asked.get_model_metadata("late", headers=headers)
    server.models["late"].versions = [1]

    async def ready() -> bool:
        return asked.is_server_ready(headers)

    await eventually(ready)


def test_same_batches(gateway: Gateway, server: FakeModelServer) -> None:
    """Rows of this protocol and of tensorgate.v1 share upstream calls."""
    server.delay = 0.3
    with grpc.insecure_channel(gateway.address) as channel:
        metadata = [("authorization", f"Bearer {gateway.key}")]
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        predict = channel.unary_unary("/tensorgate.v1.InferenceService/Predict")
        ours = pb.PredictRequest(instances=[pb.Instance(image=images(3)[0])]).SerializeToString()
        pending: list[Any] = [infer.future(request({}), timeout=TIMEOUT, metadata=metadata) for _ in range(8)]
        pending += [predict.future(ours, timeout=TIMEOUT, metadata=metadata) for _ in range(8)]
        for call in pending:
            call.result()
    assert sum(server.batches) == 16
    assert len(server.batches) < 10
