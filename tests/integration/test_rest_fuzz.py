"""Any body on any method over HTTP is answered with a documented status, and the gateway stays up."""

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import TIMEOUT, Gateway, on_one_transport

pytestmark = on_one_transport

PATHS = st.sampled_from(
    [
        "/v1/models/digits:predict",
        "/v1/models/digits/versions/1:predict",
        "/v1/models/digits/labels/stable:predict",
        "/v1/models/digits:classify",
        "/v1/models/digits:regress",
        "/tensorgate.v1.InferenceService/Predict",
        "/tensorgate.v1.InferenceService/GetModel",
        "/tensorgate.v1.InferenceService/ListModels",
    ]
)
# Names that lead somewhere, so that examples get beyond the first check.
NAMES = st.sampled_from(
    [
        "instances",
        "inputs",
        "image",
        "b64",
        "signature_name",
        "serving_default",
        "contract",
        "examples",
        "model",
        "digits",
    ]
) | st.text(max_size=6)
ROW = st.just([[0.0] * 28] * 28)
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | NAMES | ROW
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
BODIES = (
    st.dictionaries(NAMES, VALUES, max_size=4).map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda name, value: json.dumps({name: value}).encode(), st.sampled_from(["instances", "inputs"]), VALUES
    )
    | st.binary(max_size=64)
)
DOCUMENTED = {200, 400, 404, 413, 501}


def test_any_body(shared_gateway: Gateway) -> None:
    """An answer is JSON, and an error says its code."""
    headers = {"authorization": f"Bearer {shared_gateway.key}"}
    with httpx.Client(base_url=f"http://{shared_gateway.http}", headers=headers, timeout=TIMEOUT) as http:

        @settings(max_examples=300, suppress_health_check=list(HealthCheck), database=None)
        @given(path=PATHS, body=BODIES)
        def check(path: str, body: bytes) -> None:
            answer = http.post(path, content=body)
            assert answer.status_code in DOCUMENTED, answer.text
            said: Any = answer.json()
            assert answer.status_code == 200 or {"code", "details"} <= said.keys()

        check()
    assert shared_gateway.process.running
    assert not [line for line in shared_gateway.calls() if line["code"] in ("INTERNAL", "UNKNOWN")]
