"""gateway.envoy_metrics"""

import asyncio
import re

from prometheus_client import CollectorRegistry, generate_latest

from gateway.envoy_metrics import EnvoyMetrics


async def test_under_envoys_names() -> None:
    """What Envoy says is told under the names that it has for Prometheus; what it does not say is not there."""
    said = {"http.grpc.downstream_cx_total": 3, "http2.header_overflow": 2, "server.memory_allocated": 5}
    asked: list[str] = []

    async def read(pattern: str) -> dict[str, float]:
        asked.append(pattern)
        return said

    registry = CollectorRegistry()
    metrics = EnvoyMetrics(read, registry)
    assert generate_latest(registry) == b""
    watching = asyncio.create_task(metrics.watch())
    await asyncio.sleep(0.01)
    watching.cancel()
    samples = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert samples == [
        "envoy_http_downstream_cx_total 3.0",
        "envoy_http2_header_overflow_total 2.0",
        "envoy_server_memory_allocated 5.0",
    ]
    assert all(re.search(asked[0], name) for name in said)
    assert not re.search(asked[0], "http.pages.downstream_cx_total")


async def test_no_answer() -> None:
    """While Envoy does not answer, what it said last stays."""
    answers = [{"server.memory_allocated": 5.0}, OSError("busy")]

    async def read(_pattern: str) -> dict[str, float]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    registry = CollectorRegistry()
    metrics = EnvoyMetrics(read, registry)
    for _ in range(2):
        watching = asyncio.create_task(metrics.watch())
        await asyncio.sleep(0.01)
        assert not watching.done()
        watching.cancel()
    assert b"envoy_server_memory_allocated 5.0" in generate_latest(registry)
