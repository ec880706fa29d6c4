"""Counts and times calls."""

from gateway.call import Call
from gateway.interceptors.interceptor import Interceptor
from gateway.metrics import Metrics
from gateway.tallies import observe_all


class CallMetrics(Interceptor):
    """Says what is in flight, and counts and times what has ended."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._in_flight: dict[str, int] = {}
        self._ended: dict[tuple[str, str, int, str, str], list[float]] = {}
        metrics.tallies.add(self._flush)

    def on_start(self, call: Call) -> None:
        """One more in flight."""
        self._in_flight[call.method] = self._in_flight.get(call.method, 0) + 1

    def on_end(self, call: Call) -> None:
        """One less in flight, one more done."""
        self._in_flight[call.method] -= 1
        client = call.principal.group or call.principal.client
        key = (call.method, call.model, call.version, call.code, client)
        seconds = self._ended.get(key)
        if seconds is None:
            seconds = self._ended[key] = []
        seconds.append(call.seconds)

    def _flush(self) -> None:
        for method, count in self._in_flight.items():
            self._metrics.in_flight.labels(method).set(count)
        for (method, model, version, code, client), seconds in self._ended.items():
            labels = (method, model, str(version) if version else "", code)
            self._metrics.calls.labels(*labels, client).inc(len(seconds))
            observe_all(self._metrics.call_seconds.labels(*labels), seconds)
        self._ended.clear()
