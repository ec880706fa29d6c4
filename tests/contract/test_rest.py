"""What a server of TensorFlow Serving's REST API answers."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.client import TIMEOUT, Client

MODEL = "/v1/models/wire"


@pytest.fixture(scope="session")
def ask(rest_address: str) -> Callable[..., requests.Response]:
    """Asks the server: POST where there is a body, GET where there is none."""
    with requests.Session() as session:

        def ask(path: str, body: Any = None) -> requests.Response:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            return session.request(
                "GET" if data is None else "POST", f"http://{rest_address}{path}", data=data, timeout=TIMEOUT
            )

        yield ask


def test_documented_examples(ask: Callable[..., requests.Response]) -> None:
    """The half_plus_two of TFS's documentation."""
    response = ask(f"{MODEL}:predict", {"instances": [1.0, 2.0, 5.0]})
    assert response.headers["content-type"] == "application/json"
    assert response.text == '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert ask(MODEL).json() == {"model_version_status": [status]}
    assert ask(f"{MODEL}/versions/1").json() == {"model_version_status": [status]}
    assert ask(f"{MODEL}/versions/1:predict", {"inputs": [1.0]}).json() == {"outputs": [2.5]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"instances": [[1], [2]]}, {"predictions": [[2.5], [3.0]]}),
        ({"instances": [{"x": [1]}, {"x": [2]}]}, {"predictions": [[2.5], [3.0]]}),
        ({"inputs": {"x": [[1]]}}, {"outputs": [[2.5]]}),
        ({"inputs": 1}, {"outputs": 2.5}),
        (
            {"signature_name": "arithmetic", "instances": [{"a": 3, "b": 2}, {"a": 1, "b": 1}]},
            {"predictions": [{"sum": 5.0, "difference": 1.0}, {"sum": 2.0, "difference": 0.0}]},
        ),
        (
            {"signature_name": "arithmetic", "inputs": {"a": [3], "b": [2]}},
            {"outputs": {"sum": [5.0], "difference": [1.0]}},
        ),
        (
            {"signature_name": "scalars", "inputs": {"text": "é", "number": 7}},
            {"outputs": {"text": "é", "number": 7}},
        ),
        (
            {"signature_name": "scalars", "inputs": {"text": {"b64": "YQ=="}, "number": -1}},
            {"outputs": {"text": "a", "number": -1}},
        ),
    ],
    ids=str,
)
def test_predict(ask: Callable[..., requests.Response], body: Any, expected: Any) -> None:
    """Rows and columns, one input or several, one output or several, scalars, strings and bytes."""
    response = ask(f"{MODEL}:predict", body)
    assert (response.status_code, response.json()) == (200, expected)


def test_numbers_are_those_of_grpc(ask: Callable[..., requests.Response], client: Client) -> None:
    """A float comes back as the very same, NaN and the infinities too."""
    images = np.random.default_rng(4).random((16, 784), np.float32)
    body = {"signature_name": "classify", "instances": images.tolist()}
    rows = ask(f"{MODEL}:predict", body).json()["predictions"]
    expected = client.values({"images": images}, signature_name="classify")["probabilities"]
    np.testing.assert_array_equal(np.array(rows, np.float32), expected)
    response = ask(f"{MODEL}:predict", b'{"instances": [NaN, Infinity, -Infinity, 1e-45]}')
    assert response.text == '{\n    "predictions": [NaN, Infinity, -Infinity, 2.0\n    ]\n}'


def test_examples(ask: Callable[..., requests.Response]) -> None:
    """tf.Examples are classified and regressed, behind a context if there is one."""
    body = {"signature_name": "classify_examples", "examples": [{"x": 0.25}, {"x": [1.0]}]}
    assert ask(f"{MODEL}:classify", body).json() == {
        "results": [[["yes", 0.25], ["no", 0.75]], [["yes", 1.0], ["no", 0.0]]]
    }
    body = {"signature_name": "regress_examples", "context": {"x": 2.0}, "examples": [{}, {"x": 1.0}]}
    assert ask(f"{MODEL}:regress", body).json() == {"results": [3.0, 2.5]}


def test_metadata(ask: Callable[..., requests.Response]) -> None:
    """The metadata tell of every signature."""
    metadata = ask(f"{MODEL}/metadata").json()
    assert metadata["model_spec"] == {"name": "wire", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "1"]


ONE = {"instances": [1.0]}
REFUSALS: dict[str, tuple[str, Any, int, str]] = {
    "model missing": ("/v1/models/m:predict", ONE, 404, "Servable not found for request: Latest(m)"),
    "version missing": (
        f"{MODEL}/versions/9:predict",
        ONE,
        404,
        "Servable not found for request: Specific(wire, 9)",
    ),
    "bad label": (f"{MODEL}/labels/x:predict", ONE, 400, "Unrecognized servable version label: x"),
    "signature missing": (
        f"{MODEL}:predict",
        ONE | {"signature_name": "x"},
        400,
        'Serving signature name: "x" not found in signature def',
    ),
    "classify: signature missing": (
        f"{MODEL}:classify",
        {"signature_name": "x", "examples": [{}]},
        400,
        "No signature was found with the name: x",
    ),
    "regress: signature missing": (
        f"{MODEL}:regress",
        {"signature_name": "x", "examples": [{}]},
        400,
        "No signature was found with the name: x",
    ),
    "no JSON": (f"{MODEL}:predict", b"instances", 400, "JSON Parse error: Invalid value. at offset: 0"),
    "empty": (f"{MODEL}:predict", b"", 400, "JSON Parse error: The document is empty. at offset: 0"),
    "neither": (f"{MODEL}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    "input missing": (
        f"{MODEL}:predict",
        {"signature_name": "arithmetic", "inputs": {"a": [1]}},
        400,
        "Missing named input: b in 'inputs' object.",
    ),
    "status of an unknown model": ("/v1/models/m", None, 404, "Could not find any versions of model m"),
    "status of an unknown version": (f"{MODEL}/versions/9", None, 404, "Could not find version 9 of model wire"),
    "metadata of an unknown model": ("/v1/models/m/metadata", None, 404, "Servable not found for request: Latest(m)"),
    "no model": ("/v1/models", None, 400, "Missing model name in request."),
    "malformed": ("/v1/foo", None, 400, "Malformed request: GET /v1/foo"),
}


@pytest.mark.parametrize(("path", "body", "status", "text"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(ask: Callable[..., requests.Response], path: str, body: Any, status: int, text: str) -> None:
    """A request that cannot be met is refused with TensorFlow Serving's status and text."""
    response = ask(path, body)
    assert (response.status_code, response.json()) == (status, {"error": text})


def test_wrong_element(ask: Callable[..., requests.Response]) -> None:
    """What is wrong with an element is told with its place. (Releases of TFS spell the code differently.)"""
    response = ask(f"{MODEL}:predict", {"instances": [1.0, "x"]})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.startswith("Failed to process element: 1 of 'instances' list. Error: ")
    assert error.endswith('JSON Value: "x" Type: String is not of expected type: float')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "a", "b", "b64"]), inner),
    max_leaves=10,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["predict", "classify", "regress"]),
    st.sampled_from(["serving_default", "arithmetic", "scalars", "look_up", "classify_examples"]),
    st.sampled_from(["instances", "inputs", "examples"]),
    JSON,
)
def test_hostile_bodies(ask: Any, method: str, signature: str, key: str, value: Any) -> None:
    """Whatever JSON comes, the server answers it or says what is wrong with it, and goes on."""
    response = ask(f"{MODEL}:{method}", {"signature_name": signature, key: value})
    assert response.status_code in (200, 400, 501)
    assert response.status_code == 200 or response.json()["error"]
