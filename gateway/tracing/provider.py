"""Where spans go, by OpenTelemetry's standard environment variables."""

from collections.abc import Callable, Mapping

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from gateway.tracing.errors import TracingError

_NAME = "tensorgate-gateway"


def tracer_provider(environment: Mapping[str, str]) -> TracerProvider:
    """The provider, whose sampler, limits and resource are the SDK's own reading of `environment`. TracingError."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in (environment.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        exporter = _EXPORTERS.get(name.strip())
        if exporter is None:
            raise TracingError(f"OTEL_TRACES_EXPORTER is {name.strip()!r}; expected {', '.join(_EXPORTERS)} or none")
        provider.add_span_processor(BatchSpanProcessor(exporter(environment)))
    return provider


def _otlp(environment: Mapping[str, str]) -> SpanExporter:
    protocol = (
        environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "http/protobuf"
    )
    # Each brings libraries of its own.
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        return OTLPSpanExporter()
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    raise TracingError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; expected http/protobuf or grpc")


def _console(_environment: Mapping[str, str]) -> SpanExporter:
    return ConsoleSpanExporter()


_EXPORTERS: dict[str, Callable[[Mapping[str, str]], SpanExporter]] = {"otlp": _otlp, "console": _console}
