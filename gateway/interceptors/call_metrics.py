"""Counts and times calls."""

from prometheus_client import Histogram

from gateway.call import Call
from gateway.interceptors.interceptor import Interceptor
from gateway.metrics import Metrics
from gateway.tallies import observe_all

_Key = tuple[str, str, int, str, str]
"""Method, model, version, code and client."""


class CallMetrics(Interceptor):
    """Says what is in flight, and counts and times what has ended."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._in_flight: dict[str, int] = {}
        self._ended: dict[_Key, list[float]] = {}
        metrics.tallies.add(self._flush)

    def on_start(self, call: Call) -> None:
        """One more in flight."""
        self._in_flight[call.method] = self._in_flight.get(call.method, 0) + 1

    def on_end(self, call: Call) -> None:
        """One less in flight, one more done."""
        self._in_flight[call.method] -= 1
        principal = call.principal
        key = (call.method, call.model, call.version, call.code, principal.group or principal.client)
        if call.exemplar is not None:
            # A bucket has the newest one; calls whose traces are kept are few, or cost more than this anyhow.
            self._count(key, 1).observe(call.seconds, call.exemplar)
        elif key in self._ended:
            self._ended[key].append(call.seconds)
        else:
            self._ended[key] = [call.seconds]

    def _flush(self) -> None:
        for method, count in self._in_flight.items():
            self._metrics.in_flight.labels(method).set(count)
        for key, seconds in self._ended.items():
            observe_all(self._count(key, len(seconds)), seconds)
        self._ended.clear()

    def _count(self, key: _Key, count: int) -> Histogram:
        """Counts calls; returns what their times go to."""
        method, model, version, code, client = key
        labels = (method, model, str(version) if version else "", code)
        self._metrics.calls.labels(*labels, client).inc(count)
        return self._metrics.call_seconds.labels(*labels)
