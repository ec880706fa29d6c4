"""serving.embedded.rest.api and monitoring: over real ports with fake models."""

import asyncio
import gzip
import json
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import requests
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from serving.embedded.errors import ModelError
from serving.embedded.monitoring import metrics_path
from serving.embedded.text_proto import ConfigFileError
from serving.transport.addresses import AddressTakenError
from tests.fakes.promtool import problems
from tests.unit.serving.embedded.fakes import TIMEOUT, FakeLoader, eventually
from tests.unit.serving.embedded.running import fails

PREDICT = "/v1/models/m:predict"
ONE = {"instances": [1.0]}


@pytest.fixture
def rest(caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """Asks the running server over HTTP; gives the status and what the JSON says."""

    async def ask(method: str, path: str, **options: Any) -> tuple[int, Any]:
        response = await raw(method, path, **options)
        return response.status_code, response.json()

    async def raw(method: str, path: str, **options: Any) -> requests.Response:
        (address,) = (text.split()[-1] for text in caplog.messages if text.startswith("serving REST on"))
        url = f"http://{address}{path}"
        return await asyncio.to_thread(requests.request, method, url, timeout=TIMEOUT, **options)

    ask.raw = raw  # type: ignore[attr-defined]
    return ask


async def test_predict(start: Callable[..., Any], rest: Callable[..., Any]) -> None:
    """The same models answer over both protocols."""
    async with start(rest_api_port=0) as server:
        assert await rest("POST", PREDICT, json=ONE) == (200, {"predictions": [2.0]})
        assert await rest("POST", f"{PREDICT}?x=1", json={"inputs": [1]}) == (200, {"outputs": [2.0]})
        assert (await server.predict()).outputs["y"].float_val == [2]


async def test_no_rest_by_default(start: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """Without a port there is no REST."""
    async with start():
        assert "REST" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "text"),
    [
        ("POST", "/v1/models/n:predict", {"json": ONE}, 404, "Servable not found for request: Latest(n)"),
        ("POST", "/v1/models/n:predict", {"data": b"x"}, 400, "JSON Parse error: Invalid value. at offset: 0"),
        (
            "POST",
            "/v1/models/m/versions/9:predict",
            {"json": ONE},
            404,
            "Servable not found for request: Specific(m, 9)",
        ),
        (
            "POST",
            "/v1/models/m/labels/x:predict",
            {"json": ONE},
            400,
            "Unrecognized servable version label: x",
        ),
        (
            "POST",
            PREDICT,
            {"json": ONE | {"signature_name": "x"}},
            400,
            'Serving signature name: "x" not found in signature def',
        ),
        ("POST", PREDICT, {"json": ONE | {"signature_name": "broken"}}, 500, "internal error"),
        ("GET", "/v1/models/n", {}, 404, "Could not find any versions of model n"),
        ("GET", "/v1/models/m/versions/9", {}, 404, "Could not find version 9 of model m"),
        ("DELETE", PREDICT, {}, 400, f"Malformed request: DELETE {PREDICT}"),
        ("GET", "/", {}, 404, "Not Found"),
        (
            "POST",
            PREDICT,
            {"data": b"{}", "headers": {"content-encoding": "gzip"}},
            400,
            "the body is no gzip: Not a gzipped file (b'{}')",
        ),
    ],
)
async def test_errors(  # noqa: PLR0917  # a row of the table
    start: Callable[..., Any],
    rest: Callable[..., Any],
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
    text: str,
) -> None:
    """What goes wrong has TFS's status and text; what nobody foresaw has no text."""
    async with start(rest_api_port=0):
        assert await rest(method, path, **options) == (status, {"error": text})


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 400),
        ("OUT_OF_RANGE", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("ABORTED", 409),
        ("RESOURCE_EXHAUSTED", 429),
        ("CANCELLED", 499),
        ("INTERNAL", 500),
        ("UNKNOWN", 500),
        ("DATA_LOSS", 500),
        ("UNIMPLEMENTED", 501),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
    ],
)
async def test_statuses(
    rest: Callable[..., Any], start: Callable[..., Any], load: FakeLoader, code: str, status: int
) -> None:
    """Each code has the status that TFS gives it."""

    def run(*_: object) -> None:
        raise ModelError(grpc.StatusCode[code], "why")

    async with start(rest_api_port=0):
        load.servables[1].prepare = run
        assert await rest("POST", PREDICT, json=ONE) == (status, {"error": "why"})


async def test_gzip(start: Callable[..., Any], rest: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may be gzipped; one that would fill the memory is refused."""
    monkeypatch.setattr("serving.embedded.rest.api._MAX_UNZIPPED_BYTES", 100_000)
    zipped = {"headers": {"content-encoding": "gzip"}}
    async with start(rest_api_port=0):
        body = gzip.compress(json.dumps(ONE).encode())
        assert await rest("POST", PREDICT, data=body, **zipped) == (200, {"predictions": [2.0]})
        bomb = gzip.compress(bytes(200_000))
        refused = (400, {"error": "the body holds more than 100000 bytes"})
        assert await rest("POST", PREDICT, data=bomb, **zipped) == refused


async def test_large_bodies(start: Callable[..., Any], rest: Callable[..., Any]) -> None:
    """What is read and written on another thread is the same."""
    async with start(rest_api_port=0):
        values = [float(number) for number in range(10_000)]
        expected = {"predictions": [value + 1 for value in values]}
        assert await rest("POST", PREDICT, json={"instances": values}) == (200, expected)


async def test_cors(start: Callable[..., Any], rest: Callable[..., Any]) -> None:
    """With the flag, and only with it, web pages from elsewhere may call."""
    name = "access-control-allow-origin"
    async with start(rest_api_port=0, rest_api_enable_cors_support=True):
        preflight = await rest.raw("OPTIONS", PREDICT)
        assert (preflight.status_code, preflight.headers[name]) == (200, "*")
        assert (await rest.raw("POST", PREDICT, json=ONE)).headers[name] == "*"


async def test_timeout(start: Callable[..., Any], rest: Callable[..., Any], load: FakeLoader) -> None:
    """An answer that takes too long is given up."""
    async with start(rest_api_port=0, rest_api_timeout_in_ms=50):
        load.servables[1].gate.clear()
        late = (504, {"error": "Timed out waiting for notification"})
        assert await rest("POST", PREDICT, json=ONE) == late
        load.servables[1].gate.set()


async def until_refused(rest: Callable[..., Any]) -> None:
    """Asks again and again."""
    while True:
        await rest("GET", "/v1/models/m")


async def test_drain(
    start: Callable[..., Any], rest: Callable[..., Any], load: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    """After SIGTERM a request in flight finishes, new ones are refused, and the server ends."""
    async with start(rest_api_port=0) as server:
        load.servables[1].gate.clear()
        call = asyncio.create_task(rest("POST", PREDICT, json=ONE))
        await eventually(lambda: load.servables[1].running)
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: "stopping" in caplog.text)
        # Connections that were waiting are answered still.
        with pytest.raises(requests.ConnectionError):
            await until_refused(rest)
        assert not server.task.done()
        load.servables[1].gate.set()
        assert await call == (200, {"predictions": [2.0]})
        await asyncio.wait_for(server.task, TIMEOUT)


async def test_caller_leaves(start: Callable[..., Any], rest: Callable[..., Any], caplog: Any) -> None:
    """A caller who leaves within a body disturbs nobody."""
    async with start(rest_api_port=0):
        (address,) = (text.split()[-1] for text in caplog.messages if text.startswith("serving REST on"))
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert await rest("POST", PREDICT, json=ONE) == (200, {"predictions": [2.0]})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_taken_port(start: Callable[..., Any]) -> None:
    """A port that another has is the same error as gRPC's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTakenError, match=f"cannot listen on 127.0.0.1:{port}: it is taken"):
            await start(rest_api_port=port).__aenter__()


@pytest.fixture
def monitoring(tmp_path: Path) -> Path:
    """A monitoring configuration with a path of its own."""
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true path: "/metrics" }')
    return file


async def test_metrics(start: Callable[..., Any], rest: Callable[..., Any], monitoring: Path) -> None:
    """Requests over both protocols are counted under TFS's names, failures and versions under ours."""
    async with start(rest_api_port=0, monitoring_config_file=monitoring) as server:
        await server.predict()
        assert (await fails(server.predict(signature_name="x")))[0] == "FAILED_PRECONDITION"
        await rest("POST", PREDICT, json=ONE)
        await rest("POST", PREDICT, data=b"x")
        await rest("POST", "/v1/models/made-up:predict", json=ONE)
        page = await rest.raw("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }
    # The parser gives counters a _total, which TFS's have not.
    counted = re.findall(
        r'^:tensorflow:serving:request_count\{model_name="(.*)",status="(.*)"\} (.*)$', page.text, re.MULTILINE
    )
    assert sorted(counted) == [
        ("(unknown)", "NOT_FOUND", "1.0"),
        ("m", "FAILED_PRECONDITION", "1.0"),
        ("m", "INVALID_ARGUMENT", "1.0"),
        ("m", "OK", "2.0"),
    ]
    latency = ":tensorflow:serving:request_latency"
    for api, entrypoint in (("Predict", "GRPC"), ("predict", "REST")):
        labels = (("API", api), ("entrypoint", entrypoint), ("model_name", "m"))
        assert samples[f"{latency}_count", labels] == 1
        assert 1 < samples[f"{latency}_sum", labels] < TIMEOUT * 1e6
    bounds = [float(bound) for bound in re.findall(rf'{latency}_bucket{{API="Predict".*le="([0-9.e+]+)"', page.text)]
    assert bounds == pytest.approx([10 * 1.8**power for power in range(33)])
    seconds = "tensorgate_server_request_seconds_count"
    versions = {
        (labels["entrypoint"], labels["status"], labels["version"])
        for name, labels in ((name, dict(labels)) for name, labels in samples)
        if name == seconds and labels["model"] == "m"
    }
    assert versions == {
        ("GRPC", "OK", "1"),
        ("GRPC", "FAILED_PRECONDITION", ""),
        ("REST", "OK", "1"),
        ("REST", "INVALID_ARGUMENT", ""),
    }
    assert samples["tensorgate_server_version_available", (("model", "m"), ("version", "1"))] == 1


async def test_batching_metrics(start: Callable[..., Any], rest: Callable[..., Any], monitoring: Path) -> None:
    """Batches, and how long requests waited for theirs, are counted under TFS's names; sizes under ours."""
    async with start(rest_api_port=0, monitoring_config_file=monitoring, enable_batching=True) as server:
        await server.predict()
        await rest("POST", PREDICT, json={"instances": [1.0, 2.0, 3.0]})
        page = (await rest.raw("GET", "/metrics")).text
    assert "\n:tensorflow:serving:batching_session:wrapped_run_count 2.0\n" in page
    queuing = ":tensorflow:serving:batching_session:queuing_latency"
    assert f'\n{queuing}_count{{thread_pool_name="model_server_batch_threads"}} 2.0\n' in page
    bounds = [float(bound) for bound in re.findall(rf'{queuing}_bucket{{le="([0-9.e+]+)"', page)]
    assert bounds == pytest.approx([100 * 1.2**power for power in range(52)])
    assert "\ntensorgate_server_batch_rows_sum 4.0\n" in page
    # The names with colons are TensorFlow Serving's.
    assert [problem for problem in problems(page) if not problem.startswith(":tensorflow:")] == []


async def test_metrics_off(start: Callable[..., Any], rest: Callable[..., Any]) -> None:
    """Metrics that are not enabled are not there."""
    async with start(rest_api_port=0):
        assert (await rest("GET", "/monitoring/prometheus/metrics"))[0] == 404


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config { enable: true path: '/m' }", "/m"),
        ("prometheus_config { path: '/m' }", None),
        ("", None),
    ],
)
def test_metrics_path(monitoring: Path, text: str, path: str | None) -> None:
    """The file says whether there are metrics, and where."""
    monitoring.write_text(text)
    assert metrics_path(monitoring) == path


@pytest.mark.parametrize("text", ["prometheus_config { path: 'x' enable: true }", "prometheus { }"])
def test_wrong_monitoring_file(monitoring: Path, text: str) -> None:
    """A monitoring configuration that cannot be meant is an error that names the file."""
    monitoring.write_text(text)
    with pytest.raises(ConfigFileError, match=str(monitoring)):
        metrics_path(monitoring)


async def test_reflection_does_not_hold_a_stop_up(start: Callable[..., Any]) -> None:
    """A stream that a caller leaves open ends, well, when the server stops."""
    async with start() as server:
        stream = reflection_pb2_grpc.ServerReflectionStub(server.channel).ServerReflectionInfo()
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await stream.read()).HasField("list_services_response")
        os.kill(os.getpid(), signal.SIGTERM)
        # Calls in flight would have 30 seconds.
        await asyncio.wait_for(server.task, TIMEOUT / 4)
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_reflection(start: Callable[..., Any]) -> None:
    """Services, and messages of the private and of the default descriptor pool, can be asked for."""
    asked = reflection_pb2.ServerReflectionRequest

    async def questions() -> Any:
        yield asked(list_services="")
        for symbol in ("tensorflow.serving.PredictRequest", "grpc.health.v1.Health", "none"):
            yield asked(file_containing_symbol=symbol)

    async with start(enable_grpc_healthcheck_service=True) as server:
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        listed, predict, health, missing = [
            answer async for answer in stub.ServerReflectionInfo(questions(), timeout=TIMEOUT)
        ]
    assert {service.name for service in listed.list_services_response.service} == {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert predict.file_descriptor_response.file_descriptor_proto
    assert health.file_descriptor_response.file_descriptor_proto
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
