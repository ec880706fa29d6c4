"""The span of each call, and those of the interceptors that may take time."""

from collections.abc import Awaitable

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from gateway.call import Call
from gateway.interceptors.interceptor import Interceptor

# The codes for which a server's span is an error, and not its caller's affair.
_OURS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_ROUTE = "/v1/"


class CallSpans(Interceptor):
    """A span for every call, under the caller's where it says so by W3C's `traceparent`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def on_start(self, call: Call) -> None:
        """Begins the span and tells the call of it."""
        span = self._tracer.start_span(
            call.method.removeprefix("/"),
            propagate.extract(call.metadata),
            SpanKind.SERVER,
            _method(call.method) | _peer(call.peer()),
        )
        context = span.get_span_context()
        call.span = span
        call.trace_id = trace.format_trace_id(context.trace_id)
        if span.is_recording():
            call.exemplar = {"trace_id": call.trace_id, "span_id": trace.format_span_id(context.span_id)}

    def on_end(self, call: Call) -> None:
        """Ends it, with what has become known of the call."""
        span = call.span
        if span is None:
            return
        if span.is_recording():
            span.set_attribute("rpc.response.status_code", call.code)
            span.set_attribute("tensorgate.request_id", call.request_id)
            span.set_attribute("tensorgate.client", call.principal.client)
            if call.model:
                span.set_attribute("tensorgate.model", call.model)
                span.set_attribute("tensorgate.version", call.version)
            if call.instances:
                span.set_attribute("tensorgate.instances", call.instances)
            if call.code != "OK":
                span.set_attribute("error.type", call.reason or call.code)
            if call.code in _OURS:
                span.set_status(Status(StatusCode.ERROR, call.message or None))
        span.end()


class Spanned(Interceptor):
    """An interceptor whose start is a span of its own."""

    def __init__(self, inner: Interceptor, name: str, tracer: Tracer) -> None:
        self._inner = inner
        self._name = name
        self._tracer = tracer

    async def on_start(self, call: Call) -> None:
        """The inner one's, in a span."""
        context = None if call.span is None else trace.set_span_in_context(call.span)
        # A refusal is told by the call's own span.
        with self._tracer.start_as_current_span(
            self._name, context, record_exception=False, set_status_on_exception=False
        ):
            waiting = self._inner.on_start(call)
            if waiting is not None:
                await waiting

    def on_message(self, call: Call) -> Awaitable[None] | None:
        """The inner one's."""
        return self._inner.on_message(call)

    def on_end(self, call: Call) -> None:
        """The inner one's."""
        self._inner.on_end(call)


def _method(name: str) -> dict[str, str | int]:
    if name.startswith(_ROUTE):
        return {"http.route": name}
    return {"rpc.system.name": "grpc", "rpc.method": name.removeprefix("/")}


def _peer(peer: str) -> dict[str, str | int]:
    kind, _, address = peer.partition(":")
    host, _, port = address.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdigit():
        return {}
    return {"network.peer.address": host.strip("[]"), "network.peer.port": int(port)}
