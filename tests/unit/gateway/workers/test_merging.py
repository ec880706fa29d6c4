"""gateway.workers.merging: several processes' metrics as one's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from gateway.feedback.metrics import FeedbackMetrics
from gateway.metrics import Metrics
from gateway.workers.merging import GAUGES, Merged, Snapshot, kept, merged, snapshot

CALL = ("/m", "digits", "1", "OK")


def worker(calls: int, seconds: float = 0.01, **exemplar: str) -> Snapshot:
    """What a worker measured that answered some calls."""
    metrics = Metrics()
    for _ in range(calls):
        metrics.calls.labels(*CALL, "tester").inc()
        metrics.call_seconds.labels(*CALL).observe(seconds, exemplar or None)
    metrics.in_flight.labels("/m").set(calls)
    FeedbackMetrics(metrics.registry)
    metrics.backend_up.labels("digits").set(calls > 1)
    metrics.backend_breaker_open.set(calls > 1)
    return snapshot(metrics.registry)


def value(found: Snapshot, name: str, **labels: str) -> list[float]:
    """The values of a sample with these labels."""
    return [
        number
        for family in found
        for sample, own, number, _ in family[4]
        if sample == name and labels.items() <= own.items()
    ]


def test_amounts_are_added() -> None:
    """Counters and histograms of all, of those that have ended too; gauges of those that live, each in its way."""
    found = merged({"0": worker(2), "1": worker(1, 0.2)}, [kept(worker(4))])
    assert value(found, "tensorgate_calls_total", client="tester") == [7.0]
    assert value(found, "tensorgate_call_seconds_count") == [7.0]
    assert value(found, "tensorgate_call_seconds_sum") == [pytest.approx(0.26)]
    assert value(found, "tensorgate_call_seconds_bucket", le="0.01") == [6.0]
    assert value(found, "tensorgate_calls_in_flight") == [3.0]
    assert value(found, "tensorgate_backend_up") == [0.0]
    assert value(found, "tensorgate_backend_breaker_open") == [1.0]
    assert len(value(found, "process_resident_memory_bytes", worker="1")) == 1
    assert len(value(found, "process_cpu_seconds_total")) == 2


def test_every_gauge_has_its_way() -> None:
    """No gauge of the gateway's own is left to be told by worker."""
    gauges = {family[0] for family in worker(1) if family[2] == "gauge" and family[0].startswith("tensorgate_")}
    assert gauges <= set(GAUGES)


def test_a_gauge_that_nobody_knows() -> None:
    """It is told by worker."""
    family: list[Any] = ["own", "Its own.", "gauge", "", [["own", {"a": "b"}, 1.0, None]]]
    found = merged({"0": [family], "1": [family]})
    assert value(found, "own", a="b", worker="0") == value(found, "own", a="b", worker="1") == [1.0]


def test_what_workers_read_in_one_place() -> None:
    """It is told once, without a worker, whoever has read it later."""
    name = "tensorgate_quality_accuracy"
    early = [[name, {}, 0.9, None]]
    late = [[name, {}, 0.8, None], [name, {"version": "2"}, 0.7, None]]
    found = merged({str(worker): [[name, "…", "gauge", "", samples]] for worker, samples in enumerate((early, late))})
    assert found[0][4] == [*early, late[1]]


def test_pages() -> None:
    """Both of Prometheus's formats can be made of it; the latest exemplar of a bucket stays."""
    found = merged({"0": worker(1, trace_id="old"), "1": worker(1, trace_id="new")}, [kept(worker(1))])
    assert b'tensorgate_calls_total{client="tester",code="OK",method="/m",model="digits",version="1"} 3.0' in (
        generate_latest(Merged(found))  # type: ignore[arg-type]
    )
    page = generate_openmetrics(Merged(found)).decode()
    assert 'trace_id="new"' in page
    assert 'trace_id="old"' not in page
    assert page.endswith("# EOF\n")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_order_does_not_matter(calls: list[int]) -> None:
    """Workers may end in any order: the sum of amounts stays."""
    snapshots = [worker(count) for count in calls]
    live = merged({str(index): found for index, found in enumerate(snapshots)})
    ended: Snapshot = []
    for found in reversed(snapshots):
        ended = merged({}, [ended, kept(found)])
    assert value(live, "tensorgate_calls_total") == value(merged({}, [ended]), "tensorgate_calls_total")
