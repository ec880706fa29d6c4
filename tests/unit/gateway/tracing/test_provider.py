"""gateway.tracing.provider and wanted: what the environment asks for."""

import pytest
from opentelemetry.sdk.resources import SERVICE_NAME

from gateway.tracing.errors import TracingError
from gateway.tracing.provider import tracer_provider
from gateway.tracing.wanted import wanted

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        ({ENDPOINT: "http://x:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://x:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", ENDPOINT: "http://x:4318"}, False),
    ],
)
def test_wanted(environment: dict[str, str], expected: bool) -> None:
    """There are traces where something says where they go, and nothing says that there are to be none."""
    assert wanted(environment) is expected


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER is 'jaeger'; expected otlp, console or none"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json'; expected"),
    ],
)
def test_what_there_is_not(environment: dict[str, str], text: str) -> None:
    """An exporter or a protocol that there is not is an error that names the variable."""
    with pytest.raises(TracingError, match=text):
        tracer_provider(environment)


def test_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has a name of its own unless the environment gives it another."""
    console = {"OTEL_TRACES_EXPORTER": "console"}
    assert tracer_provider(console).resource.attributes[SERVICE_NAME] == "tensorgate-gateway"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert tracer_provider(console).resource.attributes[SERVICE_NAME] == "mine"
