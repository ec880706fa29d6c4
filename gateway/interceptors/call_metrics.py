"""Rate, errors and duration of every call."""

from gateway.call import Call
from gateway.interceptors.interceptor import Interceptor
from gateway.metrics import Metrics


class CallMetrics(Interceptor):
    """Counts and times calls."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def on_start(self, call: Call) -> None:
        """One more in flight."""
        self._metrics.in_flight.labels(call.method).inc()

    def on_end(self, call: Call) -> None:
        """One less in flight, one more done."""
        metrics = self._metrics
        metrics.in_flight.labels(call.method).dec()
        labels = (call.method, call.model, str(call.version) if call.version else "", call.code)
        metrics.calls.labels(*labels, call.principal.group or call.principal.client).inc()
        metrics.call_seconds.labels(*labels).observe(call.seconds, call.exemplar)
