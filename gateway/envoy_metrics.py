"""What Envoy counts, beside the gateway's own metrics: connections and what becomes of them, streams, memory."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http.client import HTTPException

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds between two looks.
INTERVAL = 2.0
# By Envoy's names; `envoy.admin` shows all that there are.
_COUNTERS = {
    "http.grpc.downstream_cx_total": "Connections that were made.",
    "http.grpc.downstream_cx_destroy_remote_active_rq": "Connections that clients ended with calls under way.",
    "http.grpc.downstream_cx_protocol_error": "Connections that ended because what came on them is no HTTP.",
    "http.grpc.downstream_cx_idle_timeout": "Connections that ended because they were idle.",
    "http2.keepalive_timeout": "Connections that ended because their other end gave no sign of life.",
    "listener.grpc.downstream_global_cx_overflow": "Connections refused because there were as many as may be.",
    "listener.grpc.ssl.handshake": "TLS handshakes that went well.",
    "listener.grpc.ssl.connection_error": "TLS connections that ended in an error.",
    "listener.grpc.ssl.fail_verify_error": "TLS handshakes with a client certificate that does not verify.",
    "http.grpc.downstream_rq_rx_reset": "Streams that clients reset.",
    "http.grpc.downstream_rq_tx_reset": "Streams that Envoy reset.",
    "http.grpc.downstream_rq_header_timeout": "Requests whose headers did not come in time.",
    "http2.header_overflow": "Requests with more headers than may be.",
    "http2.tx_flush_timeout": "Streams whose client did not read what was left of an answer.",
    "http.grpc.downstream_cx_rx_bytes_total": "Bytes received.",
    "http.grpc.downstream_cx_tx_bytes_total": "Bytes sent.",
}
_GAUGES = {
    "http.grpc.downstream_cx_active": "Connections.",
    "http2.streams_active": "Streams of all connections.",
    "http.grpc.downstream_cx_rx_bytes_buffered": "Bytes received that wait for the gateway.",
    "http.grpc.downstream_cx_tx_bytes_buffered": "Bytes that wait for clients to read.",
    "server.memory_allocated": "Bytes in use of the process's heap.",
    "server.memory_heap_size": "Bytes of the process's heap.",
}
_PATTERN = f"^({'|'.join(map(re.escape, (*_COUNTERS, *_GAUGES)))})$"


class EnvoyMetrics(Collector):
    """Envoy's statistics under Envoy's names for Prometheus, counters with `_total`, at most `INTERVAL` old.

    `read` gives those that match an expression; OSError or HTTPException if it cannot.
    """

    def __init__(self, read: Callable[[str], Awaitable[Mapping[str, float]]], registry: CollectorRegistry) -> None:
        self._read = read
        self._found: Mapping[str, float] = {}
        registry.register(self)

    async def watch(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            # Envoy may be busy.
            with contextlib.suppress(OSError, HTTPException):
                self._found = await self._read(_PATTERN)
            await asyncio.sleep(INTERVAL)

    def collect(self) -> Iterable[Metric]:
        """Those that there are: of TLS there is nothing on a port in plain text."""
        for kind, stats in ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES)):
            for name, text in stats.items():
                if name in self._found:
                    metric = f"envoy_{name.replace('.grpc.', '.').replace('.', '_')}"
                    yield kind(metric, text, self._found[name])
