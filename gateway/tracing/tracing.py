"""All that makes spans, put together."""

import asyncio
import os
from collections.abc import Mapping

from gateway.interceptors.interceptor import Interceptor
from gateway.metrics import Metrics
from gateway.tracing.calls import CallSpans, Spanned
from gateway.tracing.provider import tracer_provider
from gateway.tracing.stages import Batches, Stages
from gateway.tracing.upstream import UpstreamSpans


class Tracing:
    """The traces of one gateway. TracingError if the environment asks for what there is not."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._provider = tracer_provider(environment)
        self._tracer = self._provider.get_tracer("tensorgate.gateway")
        self.calls = CallSpans(self._tracer)
        self.batches = Batches(self._tracer)
        self.upstream = UpstreamSpans(self._tracer)

    def around(self, interceptor: Interceptor, name: str) -> Interceptor:
        """An interceptor with a span of its own."""
        return Spanned(interceptor, name, self._tracer)

    def observe(self, metrics: Metrics) -> None:
        """Makes spans of what the metrics are told of stages."""
        metrics.stage_seconds = Stages(metrics.stage_seconds, self._tracer)  # type: ignore[assignment]  # to whoever observes it is one

    async def close(self) -> None:
        """Sends what has not been sent."""
        await asyncio.to_thread(self._provider.shutdown)
