"""serving.rest.requests: bodies to messages."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rest.errors import BadJson
from serving.rest.requests import PredictBody, read_examples, read_predict
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import ServingError

SIGNATURES = {
    "": {"x": tf.TensorInfo(dtype=tf.DT_FLOAT)},
    "two": {"n": tf.TensorInfo(dtype=tf.DT_INT32), "s": tf.TensorInfo(dtype=tf.DT_STRING)},
    "double": {"x": tf.TensorInfo(dtype=tf.DT_DOUBLE)},
    "text": {"s": tf.TensorInfo(dtype=tf.DT_STRING)},
    "none": {},
}


def inputs_of(signature: str) -> Mapping[str, tf.TensorInfo]:
    """The inputs of a signature."""
    return SIGNATURES[signature]


def read(body: Any) -> PredictBody:
    """What is read of a body that is not JSON yet."""
    return read_predict(json.dumps(body).encode(), inputs_of)


@pytest.mark.parametrize(
    ("body", "shapes", "rows"),
    [
        ({"instances": [1, 2, 5]}, {"x": (3,)}, True),
        ({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, {"x": (2, 2)}, True),
        ({"inputs": 1}, {"x": ()}, False),
        ({"inputs": {"x": [[1]]}}, {"x": (1, 1)}, False),
        ({"signature_name": "two", "instances": [{"n": 1, "s": "a"}] * 2}, {"n": (2,), "s": (2,)}, True),
        ({"signature_name": "two", "instances": [{"s": {"b64": "YQ=="}, "n": [1]}]}, {"n": (1, 1), "s": (1,)}, True),
        ({"signature_name": "text", "instances": [{"b64": "YQ=="}, "b"]}, {"s": (2,)}, True),
        ({"signature_name": "text", "inputs": {"b64": "YQ=="}}, {"s": ()}, False),
        ({"signature_name": "two", "inputs": {"n": 1, "s": "a", "more": 0}}, {"n": (), "s": ()}, False),
    ],
    ids=str,
)
def test_predict(body: Any, shapes: dict[str, tuple[int, ...]], rows: bool) -> None:
    """Rows gain a dimension, columns are tensors as they are."""
    found = read(body)
    assert {alias: array.shape for alias, array in found.inputs.items()} == shapes
    assert found.rows is rows


def test_exact_doubles() -> None:
    """Doubles lose nothing on their way in."""
    values = np.random.default_rng(2).random(1000)
    np.testing.assert_array_equal(read({"signature_name": "double", "inputs": values.tolist()}).inputs["x"], values)


ROW = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (1, "JSON Value: 1 Is not object"),
        ({"signature_name": 5}, "'signature_name' key must be a string value."),
        ({"signature_name": "none"}, "Failed to get input map for signature: none"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": 1, "instances": [1]}, "expecting only one of 'inputs' or 'instances' keys to exist "),
        ({"instances": 1}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [1, "x"]}, f'{ROW}JSON Value: "x" Type: String is not of expected type: float'),
        ({"instances": [[1, 2], [3]]}, f"{ROW}Expecting tensor size: 2 but got: 1"),
        ({"instances": [1, [1]]}, f"{ROW}Expecting shape [] but got: [1]"),
        ({"instances": [1, {"x": 1}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"x": 1}, 1]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [{"y": 1}]},
            (
                "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does "
                "not have named input: y"
            ),
        ),
        ({"instances": [{"x": 1}, {}]}, "keys must be equal to: x"),
        (
            {"signature_name": "two", "instances": [1]},
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        (
            {"signature_name": "two", "inputs": [1]},
            (
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ({"signature_name": "two", "inputs": {"n": 1}}, "Missing named input: s in 'inputs' object."),
    ],
    ids=str,
)
def test_predict_errors(body: Any, text: str) -> None:
    """What is no Predict is refused in TFS's words."""
    with pytest.raises(BadJson) as caught:
        read(body)
    assert str(caught.value).endswith(text)


def test_deepest_rows() -> None:
    """Rows that would make an array of too many dimensions are refused."""
    value: Any = 1
    for _ in range(64):
        value = [value]
    assert read({"inputs": value}).inputs["x"].ndim == 64
    with pytest.raises(BadJson, match="nested deeper than 63 levels"):
        read({"instances": [value]})


def classification(body: Any) -> tfs.ClassificationRequest:
    """What is read of a body that is not JSON yet."""
    request = tfs.ClassificationRequest()
    read_examples(json.dumps(body).encode(), request)
    return request


def test_examples() -> None:
    """A feature is a value or a list of values; their JSON type is its kind."""
    body = {"signature_name": "s", "examples": [{"f": 0.5, "i": [1, True], "b": ["é", {"b64": "/w=="}], "none": []}]}
    request = classification(body)
    assert request.model_spec.signature_name == "s"
    (example,) = request.input.example_list.examples
    features = example.features.feature
    assert features["f"].float_list.value == [0.5]
    assert features["i"].int64_list.value == [1, 1]
    assert features["b"].bytes_list.value == ["é".encode(), b"\xff"]
    assert features.keys() == {"f", "i", "b", "none"}


def test_context() -> None:
    """A context stands beside the examples."""
    listed = classification({"context": {"c": 1}, "examples": [{}, {}]}).input.example_list_with_context
    assert len(listed.examples) == 2
    assert listed.context.features.feature["c"].int64_list.value == [1]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"a": None}]}, "Feature: a has element with unexpected JSON type: Null"),
        ({"examples": [{"a": [[1]]}]}, "Feature: a has element with unexpected JSON type: Array"),
        ({"examples": [{"a": {"c": 1}}]}, "Feature: a has element with unexpected JSON type: Object"),
        ({"examples": [{"a": [1, 2.5]}]}, "Unexpected element type in feature: a expecting type: int64"),
        ({"examples": [{"a": 2**63}]}, "Feature: a has uint64 element. Only int64 is supported."),
        ({"examples": [{"a": 1e300}]}, "Cannot convert JSON value: 1e+300 to float without loss of precision."),
    ],
    ids=str,
)
def test_example_errors(body: Any, text: str) -> None:
    """What is no tf.Example is refused in TFS's words."""
    with pytest.raises(BadJson) as caught:
        classification(body)
    assert str(caught.value).endswith(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "n", "s", "b64"]), inner),
    max_leaves=10,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": st.sampled_from(list(SIGNATURES)) | JSON.filter(lambda value: type(value) is not str),
        "instances": JSON,
        "inputs": JSON,
        "examples": JSON,
        "context": JSON,
    },
)


@given(BODIES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=20))
def test_hostile_bodies(body: bytes) -> None:
    """Whatever a body holds, it is read or refused with a text."""
    for reader in (lambda: read_predict(body, inputs_of), lambda: read_examples(body, tfs.RegressionRequest())):
        try:
            reader()
        except ServingError as error:
            assert str(error)  # noqa: PT017  # most are read
