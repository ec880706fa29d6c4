"""The spans of calls to model servers, which are told of them by W3C's `traceparent`."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from opentelemetry import propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer

from gateway.tracing.stages import call_span, flight


class UpstreamSpans(grpc.aio.UnaryUnaryClientInterceptor):
    """A span for each call that is made for a caller; where several share it, under one's and linked to the others'."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Makes the call within a span."""
        own = call_span()
        spans = flight.get() or ([] if own is None else [own])
        if not spans:
            # The gateway's own questions are nobody's call.
            return await continuation(client_call_details, request)
        parent = next((span for span in spans if span.is_recording()), spans[0])
        context = trace.set_span_in_context(parent)
        method = client_call_details.method
        name = (method.decode() if isinstance(method, bytes) else method).removeprefix("/")
        span = self._tracer.start_span(
            name,
            context,
            SpanKind.CLIENT,
            {"rpc.system.name": "grpc", "rpc.method": name, "tensorgate.requests": len(spans)},
            [Link(span.get_span_context()) for span in spans if span is not parent],
        )
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        metadata = (*(client_call_details.metadata or ()), *carrier.items())
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            call = await continuation(client_call_details._replace(metadata=grpc.aio.Metadata(*metadata)), request)
            try:
                code: grpc.StatusCode = await call.code()
            except asyncio.CancelledError:
                call.cancel()
                span.set_attribute("rpc.response.status_code", "CANCELLED")
                raise
            span.set_attribute("rpc.response.status_code", code.name)
            if code is not grpc.StatusCode.OK:
                span.set_attribute("error.type", code.name)
                span.set_status(Status(StatusCode.ERROR))
            return call
