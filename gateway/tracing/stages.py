"""The spans of what happens between the interceptors and the model server."""

import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Tracer
from prometheus_client import Histogram

from gateway.call import current_call

_SPANNED = "preprocess"
flight: ContextVar[Sequence[Span]] = ContextVar("flight", default=())
"""The spans of the calls whose rows travel together."""


def call_span() -> Span | None:
    """The span of the call that is being answered."""
    call = current_call.get(None)
    return None if call is None else call.span


class Stages:
    """A histogram of stages to whoever observes, which makes a span of each preprocessing too."""

    def __init__(self, histogram: Histogram, tracer: Tracer) -> None:
        self._histogram = histogram
        self._tracer = tracer

    def labels(self, model: str, stage: str) -> Any:
        """The stage's own histogram."""
        child = self._histogram.labels(model, stage)
        return _Stage(child, stage, self._tracer) if stage == _SPANNED else child


class _Stage:
    def __init__(self, histogram: Histogram, name: str, tracer: Tracer) -> None:
        self._histogram = histogram
        self._name = name
        self._tracer = tracer

    def observe(self, seconds: float) -> None:
        """Notes that the stage, which ends now, took so long."""
        call = current_call.get(None)
        if call is None:
            self._histogram.observe(seconds)
            return
        self._histogram.observe(seconds, call.exemplar)
        if call.span is not None:
            _past(self._tracer, self._name, call.span, seconds)


class Batches:
    """What upstream calls carry: each request's time in the queue, and whose rows travel together."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def mark(self) -> Span | None:
        """What a request's rows are known by while they wait."""
        return call_span()

    def sent(self, waits: Sequence[float], marks: Sequence[Span | None]) -> None:
        """Notes that rows leave now, as one call that is made in this context."""
        for wait, span in zip(waits, marks, strict=True):
            if span is not None:
                _past(self._tracer, "queue", span, wait)
        flight.set([span for span in marks if span is not None])


def _past(tracer: Tracer, name: str, parent: Span, seconds: float) -> None:
    """A span that ends now."""
    now = time.time_ns()
    tracer.start_span(name, trace.set_span_in_context(parent), start_time=now - round(seconds * 1e9)).end(now)
