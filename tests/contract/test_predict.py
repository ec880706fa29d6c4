"""What a server of TensorFlow Serving's protocol answers to Predict, asked with TensorFlow Serving's own client."""

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.wire.codec import ELEMENT_TYPES
from tests.contract.client import Client, failure, model_spec, predict_request

X = np.array([[1], [2]], np.float32)
Y = X / 2 + 2
TEXT = np.array(["1"])
FIELDS = {entry.name: entry.field for entry in ELEMENT_TYPES}


def float_proto(shape: list[int], **fields: Any) -> TensorProto:
    """A TensorProto of floats, put together by hand."""
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return TensorProto(dtype=tf.float32.as_datatype_enum, tensor_shape=TensorShapeProto(dim=dims), **fields)


@pytest.mark.parametrize("spec", [{}, {"version": 1}, {"signature_name": "serving_default"}], ids=str)
def test_predict(client: Client, spec: dict[str, Any]) -> None:
    """The answer is the signature's, and names model, version and signature as they were resolved."""
    response = client.predict({"x": X}, **spec)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), Y)
    assert response.model_spec == model_spec(version=1, signature_name="serving_default")


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (float_proto([2, 1], tensor_content=X.tobytes()), Y),
        (float_proto([2, 1], float_val=[1, 2]), Y),
        (float_proto([3, 1], float_val=[1]), [[2.5]] * 3),
        (float_proto([3, 1], float_val=[1, 2]), [[2.5], [3], [3]]),
        (float_proto([2, 1]), [[2], [2]]),
        (float_proto([0, 1]), np.empty((0, 1))),
        (float_proto([2], float_val=[1, 2]), [2.5, 3]),
        (float_proto([], float_val=[1]), 2.5),
    ],
    ids=["content", "typed", "one value", "last value", "no value", "empty batch", "one dimension", "scalar"],
)
def test_encodings(client: Client, proto: TensorProto, expected: Any) -> None:
    """An input is read as TensorFlow reads it, and its shape is the graph's to judge."""
    np.testing.assert_array_equal(client.values({"x": proto})["y"], expected)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)], ids=str)
def test_dtypes(client: Client, shape: tuple[int, ...]) -> None:
    """Every dtype passes there and back in any shape, and comes back in its typed field."""
    arrays = {entry.name: np.full(shape, 1, entry.numpy) for entry in ELEMENT_TYPES}
    arrays["string"] = np.full(shape, b"a\0", object)
    response = client.predict(arrays, signature_name="identity")
    assert response.outputs.keys() == arrays.keys()
    for name, proto in response.outputs.items():
        np.testing.assert_array_equal(tf.make_ndarray(proto), arrays[name])
        filled = {FIELDS[name]} if arrays[name].size else set()
        assert {field.name for field, _ in proto.ListFields()} - {"dtype", "tensor_shape"} == filled


def test_scalars(client: Client) -> None:
    """Scalars stay scalars, a string with zeros at its end too."""
    values = client.values({"text": b"a\0", "number": np.int32(7)}, signature_name="scalars")
    assert (values["text"].shape, values["text"].item()) == ((), b"a\0")
    assert (values["number"].shape, values["number"].item()) == ((), 7)


def test_same_probabilities(client: Client, base: Path) -> None:
    """The probabilities are those that TensorFlow computes in process."""
    images = np.random.default_rng(3).random((32, 784), np.float32)
    expected = tf.saved_model.load(str(base / "1")).signatures["classify"](tf.constant(images))["probabilities"]
    actual = client.values({"images": images}, signature_name="classify")["probabilities"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_large_messages(client: Client) -> None:
    """Neither a request nor an answer is held to gRPC's 4 MB."""
    values = np.arange(2 << 20, dtype=np.float32).reshape(-1, 1)
    np.testing.assert_array_equal(client.values({"x": values})["y"], values / 2 + 2)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [((), {"sum": 5, "difference": 1}), (("sum",), {"sum": 5}), (("sum", "difference"), {"sum": 5, "difference": 1})],
    ids=str,
)
def test_output_filter(client: Client, outputs: tuple[str, ...], expected: dict[str, float]) -> None:
    """Only the outputs that were asked for are sent; all if none was."""
    inputs = {"a": np.float32([3]), "b": np.float32([2])}
    assert client.values(inputs, *outputs, signature_name="arithmetic") == expected


def test_defaults(client: Client) -> None:
    """An input that has a default may be left out, or given."""
    for inputs, factor in (({"x": X}, 3), ({"x": X, "factor": np.float32(2)}, 2)):
        np.testing.assert_array_equal(client.values(inputs, signature_name="scale")["y"], X * factor)


A = np.float32([1])
REFUSALS: dict[str, tuple[PredictRequest, str, str]] = {
    "no model_spec": (PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "empty name": (predict_request({"x": X}, name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "model missing": (predict_request({"x": X}, name="m"), "NOT_FOUND", "Servable not found for request: Latest(m)"),
    "version missing": (
        predict_request({"x": X}, version=9),
        "NOT_FOUND",
        "Servable not found for request: Specific(wire, 9)",
    ),
    "bad label": (
        predict_request({"x": X}, version_label="x"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: x",
    ),
    "signature missing": (
        predict_request({"x": X}, signature_name="x"),
        "FAILED_PRECONDITION",
        'Serving signature key "x" not found.',
    ),
    "long text": (
        predict_request({"x": X}, signature_name="x" * 2000),
        "FAILED_PRECONDITION",
        'Serving signature key "'.ljust(1024, "x") + "...TRUNCATED",
    ),
    "input missing": (
        predict_request({"a": A}, signature_name="arithmetic"),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}.",
    ),
    "input too many": (
        predict_request({"a": A, "b": A, "c": A}, signature_name="arithmetic"),
        "INVALID_ARGUMENT",
        (
            "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). Sent extra: {c}. "
            "Missing but required: {}."
        ),
    ),
    "no input": (
        predict_request({}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    "unparsable": (predict_request({"x": TensorProto()}), "INVALID_ARGUMENT", "tensor parsing error: x"),
    "lying shape": (
        predict_request({"x": float_proto([1 << 40, 1], tensor_content=X.tobytes())}),
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
    ),
    "negative shape": (
        predict_request({"x": float_proto([-1, 1], float_val=[1])}),
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
    ),
    "wrong dtype": (
        predict_request({"x": TEXT}),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but string is provided",
    ),
    "unknown output": (
        predict_request({"x": X}, "z"),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    ),
    "output twice": (predict_request({"x": X}, "y", "y"), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
}


@pytest.mark.parametrize(("request_", "code", "text"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(client: Client, request_: PredictRequest, code: str, text: str) -> None:
    """A request that cannot be met is refused with TensorFlow Serving's code and text."""
    assert failure(client.predictions.Predict, request_) == (code, text)


def test_unknown_alias(client: Client) -> None:
    """An input that the signature does not have is named. (Releases of TensorFlow Serving differ in the words.)"""
    code, text = failure(client.predictions.Predict, predict_request({"a": X}))
    assert code == "INVALID_ARGUMENT"
    assert "alias" in text


def test_shape_mismatch(client: Client) -> None:
    """A shape that the graph cannot take is refused by TensorFlow itself, with both shapes."""
    request = predict_request({"images": np.zeros((2, 5), np.float32)}, signature_name="classify")
    code, text = failure(client.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert "[2,5]" in text
    assert "[784,10]" in text


def test_runtime_error(client: Client) -> None:
    """What fails in the graph has TensorFlow's own code."""
    code, _ = failure(client.predictions.Predict, predict_request({"index": np.int32([3])}, signature_name="look_up"))
    assert code == "INVALID_ARGUMENT"


def test_hostile_tensors(client: Client) -> None:
    """Whatever stands where tensors should, the server serves it or refuses it, and goes on."""
    random = np.random.default_rng(5)
    for _ in range(100):
        proto = float_proto(random.choice([0, 1, 2, -1, 1 << 31, 1 << 62], random.integers(4)).tolist())
        proto.dtype = int(random.integers(24))
        proto.tensor_content = random.bytes(random.integers(20))
        proto.float_val.extend(random.random(random.integers(4)))
        proto.string_val.extend([b"x"] * random.integers(4))
        try:
            client.predict({"x": proto})
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017  # some are served
    np.testing.assert_array_equal(client.values({"x": X})["y"], Y)
