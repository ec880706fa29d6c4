"""OpenTelemetry's traces: a real gateway, a real OTLP receiver."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tensorgate import TensorgateError
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.fakes.trace_collector import TraceCollector, attributes
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually, ready

PNG = digits.encode(digits.band(3))
METHOD = "tensorgate.v1.InferenceService/Predict"
UPSTREAM = "tensorflow.serving.PredictionService/Predict"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceCollector]:
    """Where gateways that are started from now on send their spans, over HTTP."""
    with TraceCollector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoints["http/protobuf"])
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield found


async def predict(gateway: Gateway, *, traceparent: str = f"00-{TRACE}-{PARENT}-01") -> httpx.Response:
    """A prediction over HTTP, under a trace of the caller's."""
    headers = {"authorization": f"Bearer {gateway.key}", "traceparent": traceparent}
    async with httpx.AsyncClient(base_url=f"http://{gateway.http}", headers=headers, timeout=TIMEOUT) as http:
        return await http.post(
            "/v1/models/digits:predict", json={"instances": [[[0.0] * 28] * 28]}, headers={"x-request-id": "traced"}
        )


async def test_spans(server: FakeModelServer, start_gateway: StartGateway, collector: TraceCollector) -> None:
    """A call is a span with its stages below it, the model server hears of it, and the log and the metrics name it."""
    gateway = await ready(start_gateway(server.address))
    async with gateway.client() as client:
        await client.predict(PNG)
    await eventually(lambda: _true(collector.named(METHOD)))
    (call,) = collector.named(METHOD)
    found = attributes(call)
    assert found["rpc.system.name"] == "grpc"
    assert found["rpc.response.status_code"] == "OK"
    assert (found["tensorgate.model"], found["tensorgate.client"]) == ("digits", "tester")
    below = {span.name: span for span in collector.spans if span.parent_span_id == call.span_id}
    assert set(below) == {"auth", "admission", "preprocess", "queue", UPSTREAM}
    for span in below.values():
        assert span.trace_id == call.trace_id
        assert call.start_time_unix_nano - 10**6 <= span.start_time_unix_nano <= span.end_time_unix_nano
    upstream = below[UPSTREAM]
    told = str(server.metadata["traceparent"]).split("-")
    assert told[1:3] == [call.trace_id.hex(), upstream.span_id.hex()]
    assert gateway.calls()[0]["trace_id"] == call.trace_id.hex()
    assert collector.services == {"tensorgate-gateway"}
    # Questions of the gateway's own are no spans.
    assert {span.name for span in collector.spans} == {METHOD, *below}
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    async with httpx.AsyncClient(timeout=TIMEOUT) as http:
        page = await http.get(f"http://{gateway.http}/metrics", headers=accept)
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    exemplars = [line for line in page.text.splitlines() if "tensorgate_call_seconds_bucket" in line and "# {" in line]
    assert any(f'trace_id="{call.trace_id.hex()}"' in line for line in exemplars)
    assert "# {" not in gateway.get("/metrics")[1]


async def test_callers_trace(
    server: FakeModelServer, start_gateway: StartGateway, collector: TraceCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller's trace goes on, over OTLP's gRPC too; what its caller does not keep is not kept, but passed on."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoints["grpc"])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    gateway = await ready(start_gateway(server.address))
    assert (await predict(gateway, traceparent=f"00-{TRACE}-{PARENT}-00")).status_code == 200
    assert str(server.metadata["traceparent"]).startswith(f"00-{TRACE}-")
    assert str(server.metadata["traceparent"]).endswith("-00")
    assert (await predict(gateway)).status_code == 200
    name = "v1/models/{model}:predict"
    await eventually(lambda: _true(collector.named(name)))
    (call,) = collector.named(name)
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(call)["http.route"] == f"/{name}"
    assert collector.services == {"mine"}
    assert {line["trace_id"] for line in gateway.calls()} == {TRACE}


async def test_batches(server: FakeModelServer, start_gateway: StartGateway, collector: TraceCollector) -> None:
    """An upstream call that carries several requests is in one's trace and linked to the others'."""
    gateway = await ready(start_gateway(server.address, "--batching.max-in-flight=1"))
    server.hold()
    async with gateway.client() as client:
        first = asyncio.create_task(client.predict(PNG))
        await eventually(lambda: _true(server.batches))
        rest = [asyncio.create_task(client.predict(PNG)) for _ in range(3)]
        await eventually(lambda: _true('tensorgate_calls_in_flight{method="/' + METHOD + '"} 4.0' in _page(gateway)))
        await asyncio.sleep(0.2)
        server.release()
        await asyncio.gather(first, *rest)
    await eventually(lambda: _true(len(collector.named(METHOD)) == 4 and len(collector.named(UPSTREAM)) == 2))
    shared = next(span for span in collector.named(UPSTREAM) if span.links)
    calls = {span.span_id: span for span in collector.named(METHOD)}
    carried = {shared.parent_span_id, *(link.span_id for link in shared.links)}
    assert attributes(shared)["tensorgate.requests"] == len(carried) == 3
    assert carried <= set(calls)
    queued = {span.parent_span_id: span for span in collector.named("queue")}
    waits = [queued[place].end_time_unix_nano - queued[place].start_time_unix_nano for place in carried]
    assert min(waits) > 0.1e9


async def test_failures(server: FakeModelServer, start_gateway: StartGateway, collector: TraceCollector) -> None:
    """What the gateway or the model server failed at is an error; what the caller did is not."""
    gateway = await ready(start_gateway(server.address))
    async with gateway.client() as client:
        with pytest.raises(TensorgateError):
            await client.predict(b"")
        server.stop()
        with pytest.raises(TensorgateError):
            await client.predict(PNG, timeout=2)
    await eventually(lambda: _true(len(collector.named(METHOD)) == 2))
    bad, down = (span for span in collector.named(METHOD))
    assert (bad.status.code, attributes(bad)["error.type"]) == (0, "IMAGE_EMPTY")
    assert down.status.code == 2


async def test_a_collector_that_is_away(
    server: FakeModelServer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are answered, and the gateway ends, without a collector."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    gateway = await ready(start_gateway(server.address))
    async with gateway.client() as client:
        assert (await client.predict(PNG)).label == "3"
    started = time.monotonic()
    assert await asyncio.to_thread(gateway.process.stop) == 0
    assert time.monotonic() - started < TIMEOUT


def test_costs_nothing_unless_wanted() -> None:
    """Without the variables the SDK is not even imported."""
    code = "import sys, gateway.wiring as w; w.new_tracing(w.Metrics()); print('opentelemetry.sdk' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert ended.stdout.strip() == "False"


def _page(gateway: Gateway) -> str:
    return gateway.get("/metrics")[1]


async def _true(value: object) -> object:
    return value
