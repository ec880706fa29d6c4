"""gateway.interceptors.call_metrics"""

import pytest

from gateway.call import Call
from gateway.interceptors.call_metrics import CallMetrics
from gateway.metrics import Metrics
from tests.fakes import calls

LABELS = {"method": "/s/M", "model": "digits", "version": "2", "code": "OK"}


def call(exemplar: dict[str, str] | None = None) -> Call:
    """A call that ends well."""
    return calls.call(model="digits", version=2, exemplar=exemplar)


def test_calls_with_and_without_traces() -> None:
    """A scrape sees every call that ended before it; those whose traces are kept with their exemplars."""
    metrics = Metrics()
    interceptor = CallMetrics(metrics)
    calls = [call(), call({"trace_id": "1"}), call(), call({"trace_id": "2"}), call()]
    for each in calls:
        interceptor.on_start(each)
    for each in calls[:-1]:
        interceptor.on_end(each)

    families = {family.name: family.samples for family in metrics.registry.collect()}
    assert metrics.registry.get_sample_value("tensorgate_call_seconds_count", LABELS) == 4
    assert metrics.registry.get_sample_value("tensorgate_calls_total", LABELS | {"client": "anonymous"}) == 4
    assert metrics.registry.get_sample_value("tensorgate_calls_in_flight", {"method": "/s/M"}) == 1
    kept = [sample.exemplar for sample in families["tensorgate_call_seconds"] if sample.exemplar]
    assert kept[-1].labels == {"trace_id": "2"}
    assert kept[-1].value == pytest.approx(calls[3].seconds, abs=5)
