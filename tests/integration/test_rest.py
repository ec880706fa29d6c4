"""JSON over HTTP: TensorFlow Serving's REST API, our own service, and what describes them."""

import base64
import gzip
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually, on_one_transport, ready

pytestmark = on_one_transport

PREDICT = "/v1/models/digits:predict"
OURS = "/tensorgate.v1.InferenceService"
IMAGES = [{"b64": base64.b64encode(digits.encode(digits.band(label))).decode()} for label in (3, 7)]
ROW = [[0.0] * 28] * 28


@pytest.fixture
def http(shared_gateway: Gateway) -> Iterator[httpx.Client]:
    """Asks the shared gateway, with its key."""
    with client(shared_gateway) as found:
        yield found


def client(gateway: Gateway, **headers: str) -> httpx.Client:
    """An HTTP client with the gateway's key, as soon as the gateway has seen its models."""
    deadline = time.monotonic() + TIMEOUT
    while gateway.get("/readyz")[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    headers = {"authorization": f"Bearer {gateway.key}"} | headers
    return httpx.Client(base_url=f"http://{gateway.http}", headers=headers, timeout=TIMEOUT)


@pytest.mark.parametrize("body", [{"instances": IMAGES}, {"instances": [{"image": image} for image in IMAGES]}])
def test_images_in_rows(http: httpx.Client, body: Any) -> None:
    """Encoded images are preprocessed as the contract says; the answer is TensorFlow Serving's own."""
    answer = http.post(PREDICT, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert [scores.index(max(scores)) for scores in answer.json()["predictions"]] == [3, 7]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("inputs", [IMAGES, {"image": IMAGES}, IMAGES[0]], ids=["list", "named", "one"])
def test_images_in_columns(http: httpx.Client, inputs: Any) -> None:
    """The column form takes images too, one alone as well."""
    scores = http.post(PREDICT, json={"inputs": inputs}).json()["outputs"]
    assert scores[0][3] == pytest.approx(0.91)


def test_tensors(http: httpx.Client, shared_server: FakeModelServer) -> None:
    """Tensors in both forms, on a version, and compressed; numbers are as TensorFlow Serving prints them."""
    expected = [0.91] + [0.01] * 9
    for path in (PREDICT, "/v1/models/digits/versions/1:predict"):
        assert http.post(path, json={"instances": [ROW, ROW]}).json() == {"predictions": [expected, expected]}
    assert http.post(PREDICT, json={"inputs": {"image": [ROW]}}).json() == {"outputs": [expected]}
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
    assert http.post(PREDICT, content=body, headers={"content-encoding": "gzip"}).json() == {"predictions": [expected]}


def test_numbers(http: httpx.Client, shared_server: FakeModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not finite comes and goes, and numbers are printed as TensorFlow Serving prints them."""
    monkeypatch.setattr(shared_server, "compute", lambda image: image[:, 0, :4])
    row = [[float("nan"), float("-inf"), -0.1, 2, *[0.0] * 24], *ROW[1:]]
    text = http.post(PREDICT, content=json.dumps({"instances": [row]})).text
    assert "[NaN, -Infinity, -0.1, 2.0]" in text


def test_status_and_metadata(http: httpx.Client) -> None:
    """Models say what they are, but for the signature that is not for callers."""
    states = http.get("/v1/models/digits").json()["model_version_status"]
    assert [(state["version"], state["state"]) for state in states] == [("1", "AVAILABLE")]
    signatures = http.get("/v1/models/digits/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default"}


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (PREDICT, b"{", 400, "JSON Parse error"),
        (PREDICT, b"", 400, "JSON Parse error"),
        (PREDICT, b"[" * 1_000_000, 400, "JSON Parse error"),
        (PREDICT, b'{"instances": ' + b'{"image":' * 100_000, 400, "JSON Parse error"),
        (PREDICT, b"{}", 400, "Missing 'inputs' or 'instances' key"),
        (PREDICT, b'{"instances": ["x"]}', 400, "not of expected type: float"),
        (PREDICT, b'{"instances": [{"b64": "eA=="}]}', 400, "image"),
        (PREDICT, b'{"instances": [{"b64": "eA=="}, 1]}', 400, "element: 1"),
        (PREDICT, b'{"signature_name": "x", "instances": [1]}', 400, 'name: "x" not found'),
        (PREDICT, b'{"signature_name": "contract", "instances": [1]}', 400, "not found"),
        ("/v1/models/digits/versions/9:predict", b"{}", 404, "Specific(digits, 9)"),
        ("/v1/models/digits/labels/x:predict", b"{}", 400, "Unrecognized servable version label"),
        ("/v1/models/cats:predict", b"{}", 404, "Latest(cats)"),
        ("/v1/models/digits:explain", b"{}", 400, "Malformed request: POST"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_errors(http: httpx.Client, path: str, body: bytes, status: int, text: str) -> None:
    """What is wrong comes as TensorFlow Serving says it, with the code beside it."""
    answer = http.post(path, content=body)
    assert answer.status_code == status
    assert answer.json()["code"] == {400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}[status]
    assert text in answer.json()["error"]


def test_a_bad_image_is_named(http: httpx.Client) -> None:
    """The details name the instance that is wrong."""
    details = http.post(PREDICT, json={"instances": [IMAGES[0], {"b64": "eA=="}]}).json()["details"]
    assert {"field": "instances[1]"}.items() <= details[2]["fieldViolations"][0].items()


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/none:predict", f"{OURS}/Predict", "/openapi.json"])
def test_nobody_without_a_key(shared_gateway: Gateway, path: str) -> None:
    """Without a key there is no answer, to the same words whether or not there is a model."""
    with client(shared_gateway, authorization="Bearer nonsense") as http:
        answer = http.get(path) if path.endswith(".json") else http.post(path, content=b"{")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_scopes(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """A model that the key does not cover is 403 whether or not it exists, and is not described."""
    server.models["letters"] = FakeModel(contract=digits.contract().model_dump_json())
    gateway = start_gateway(server.address, models="digits,letters", scopes=("predict:digits",))
    with client(gateway) as http:
        refused = [http.post(f"/v1/models/{name}:predict", content=b"{}") for name in ("letters", "none")]
        assert {answer.status_code for answer in refused} == {403}
        assert refused[0].json()["error"].replace("letters", "none") == refused[1].json()["error"]
        paths = http.get("/openapi.json").json()["paths"]
        assert "/v1/models/digits:predict" in paths
        assert not any("letters" in path for path in paths)


def test_our_service(http: httpx.Client) -> None:
    """The Connect protocol: labels, with ids for feedback, and an error for the instance that has it."""
    instances = [{"image": IMAGES[0]["b64"]}, {"image": "eA=="}]
    answer = http.post(f"{OURS}/Predict", json={"model": "digits", "instances": instances}).json()
    assert answer["predictions"][0]["classification"]["label"] == "3"
    assert answer["predictions"][0]["id"]
    assert answer["predictions"][1]["error"]["code"] == 3
    listed = http.post(f"{OURS}/ListModels", json={}).json()
    assert [model["name"] for model in listed["models"]] == ["digits"]
    refused = http.post(f"{OURS}/GetModel", json={"model": "cats"})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert refused.json()["details"][0]["debug"]["reason"] == "MODEL_NOT_FOUND"
    for body in (b"[]", b"{" * 100_000, b'{"instances": 1}', b"\xff"):
        refused = http.post(f"{OURS}/Predict", content=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_argument")


def test_content_type(http: httpx.Client) -> None:
    """Another type is refused; none at all, or what curl sends of itself, is JSON as with TensorFlow Serving."""
    body = json.dumps({"instances": IMAGES})
    for kind, status in (("text/xml", 400), ("application/json; charset=utf-8", 200), ("", 200)):
        assert http.post(PREDICT, content=body, headers={"content-type": kind}).status_code == status
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert http.post(PREDICT, content=body, headers=form).status_code == 200
    zipped = {"content-encoding": "gzip"}
    assert http.post(PREDICT, content=b"nothing of gzip", headers=zipped).status_code == 400
    bomb = gzip.compress(b" " * (20 << 20))
    assert http.post(PREDICT, content=bomb, headers=zipped).status_code == 400


def test_measured(shared_gateway: Gateway, http: httpx.Client) -> None:
    """A call has a line in the log and is counted, under the method's pattern and never the path itself."""
    http.post(PREDICT, json={"instances": IMAGES}, headers={"x-request-id": "mine"})
    line = next(line for line in shared_gateway.calls() if line["request_id"] == "mine")
    assert {
        "method": "/v1/models/{model}:predict",
        "code": "OK",
        "model": "digits",
        "instances": 2,
    }.items() <= line.items()
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    text = shared_gateway.get("/metrics")[1]
    assert 'tensorgate_calls_total{client="tester",code="OK",method="/v1/models/{model}:predict",model="digits"' in text


def test_described(http: httpx.Client) -> None:
    """The document describes each model's tensors, images among them; the page asks nothing of other hosts."""
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    forms = document["paths"][PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    row = forms[0]["properties"]["instances"]["items"]["anyOf"][0]
    assert row["anyOf"][0]["required"] == ["b64"]
    assert (row["anyOf"][1]["maxItems"], row["anyOf"][1]["items"]["maxItems"]) == (28, 28)
    references = set(json.dumps(document).split('"$ref": "#/components/schemas/')[1:])
    assert {text.partition('"')[0] for text in references} <= set(document["components"]["schemas"])
    page = http.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "://" not in page.text


async def test_limits_and_settings(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Too large is 413, too often 429 with Retry-After, too late 504; pages of foreign origins may call if told so."""
    gateway = start_gateway(
        server.address,
        "--limits.max-request-bytes=50000",
        "--limits.client.calls-per-second=0.1",
        "--limits.client.burst=4",
        "--rest.cors-origins=https://example.org",
        "--rest.body-timeout=0.5",
    )
    with client(gateway, origin="https://example.org") as http:
        answer = http.post(PREDICT, content=b" " * 60_000)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, "https://example.org")
        pieces = http.post(PREDICT, content=iter([b" " * 20_000] * 3))
        assert (pieces.status_code, pieces.json()["details"][0]["reason"]) == (413, "REQUEST_TOO_LARGE")
        server.delay = 5.0
        late = http.post(PREDICT, json={"instances": IMAGES}, headers={"connect-timeout-ms": "300"})
        assert (late.status_code, late.json()["code"]) == (504, "DEADLINE_EXCEEDED")
        # A body that does not come does not hold its place.
        slow = socket.create_connection(gateway.http.rsplit(":", 1), timeout=TIMEOUT)
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
        slow.sendall(f"{head}content-length: 9\r\n\r\n{{".encode())
        assert b" 400 " in slow.recv(1000)
        slow.close()
        refused = http.post(PREDICT, json={"instances": IMAGES})
        assert (refused.status_code, refused.json()["code"]) == (429, "RESOURCE_EXHAUSTED")
        assert int(refused.headers["retry-after"]) >= 1
        preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        assert http.options(PREDICT, headers=preflight).status_code == 200


async def test_a_client_that_leaves(server: FakeModelServer, gateway: Gateway) -> None:
    """A call whose client has gone is cancelled, at the model server too."""
    await ready(gateway)
    server.delay = 30.0
    body = json.dumps({"instances": IMAGES}).encode()
    with socket.create_connection(gateway.http.rsplit(":", 1), timeout=TIMEOUT) as raw:
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await eventually(lambda: _true(bool(server.batches)))
    await eventually(lambda: _true(server.cancelled == 1))
    await eventually(lambda: _true(any(line["code"] == "CANCELLED" for line in gateway.calls())))


async def _true(value: bool) -> bool:
    return value


def test_off(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Turned off, nothing but the operators' pages is there."""
    gateway = start_gateway(server.address, "--no-rest.enabled")
    with client(gateway) as http:
        assert {http.get(path).status_code for path in ("/docs", "/openapi.json", "/v1/models/digits")} == {404}
        assert http.get("/readyz").status_code == 200


def test_labels_and_raw_models(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """A version label is resolved; a model without a contract takes tensors alone."""
    server.models["digits"].labels["stable"] = 1
    server.models["raw"] = FakeModel()
    gateway = start_gateway(server.address, models="digits,raw")
    with client(gateway) as http:
        for path in ("/v1/models/digits/labels/stable:predict", "/v1/models/raw:predict"):
            assert http.post(path, json={"instances": [ROW]}).json()["predictions"][0][0] == pytest.approx(0.91)
        assert http.post("/v1/models/digits/labels/stable:predict", json={"instances": IMAGES}).status_code == 200
        assert "not of expected type" in http.post("/v1/models/raw:predict", json={"instances": IMAGES}).json()["error"]
