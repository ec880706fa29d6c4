"""gateway.drift.monitor, sketch and metrics"""

import time
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from gateway.answers import Classification, Raw, Regression
from gateway.catalog import Catalog, Servable, State, Version
from gateway.drift.metrics import DriftMetrics
from gateway.drift.monitor import FLUSHES, DriftMonitor
from gateway.drift.sketch import Kind, Sketch
from gateway.metrics import Metrics
from gateway.observations import Observation, Variant
from gateway.settings.drift import DriftSettings
from serving.contract import Postprocessing, Reference
from serving.reference import by_quantiles, source
from tests.fakes import digits
from tests.fakes.backend import FakeBackend

GREY = np.linspace(0, 1, 1000)
INPUTS = {name: by_quantiles(GREY) for name in ("mean_intensity", "image_brightness")}
REFERENCE = Reference(
    instances=1000,
    inputs=INPUTS,
    predictions={str(digit): 100 for digit in range(10)},
    confidence=by_quantiles(np.linspace(0.5, 1, 1000)),
)


def servable(version: int = 1, **changes: Any) -> Servable:
    """A version with a contract, and a reference unless `changes` say otherwise."""
    return Servable("digits", version, {}, digits.contract(**{"reference": REFERENCE} | changes))


def observation(of: Servable, rows: int, *, seed: int = 0, level: float | None = None) -> Observation:
    """Grey images and answers as the reference has them; with a `level` all images are of that one."""
    rng = np.random.default_rng(seed)
    levels = rng.random(rows) if level is None else np.full(rows, level)
    tensors = np.broadcast_to(levels[:, np.newaxis, np.newaxis], (rows, 28, 28)).astype(np.float32)
    answers = [
        Classification("0" * 10, [int(number)], [score])
        for number, score in zip(rng.integers(0, 10, rows), rng.uniform(0.5, 1, rows), strict=True)
    ]
    sources = [source((image * 255).astype(np.uint8)[:, :, np.newaxis]) for image in tensors]
    return Observation(of, Variant.STABLE, {"image": tensors}, answers, sources=sources)


class Watch:
    """A monitor over a catalog that is set by hand."""

    def __init__(self, *servables: Servable, **settings: Any) -> None:
        self.catalog = Catalog(["digits"], FakeBackend(), Metrics(), timeout=1.0)
        self.registry = CollectorRegistry()
        self.monitor = DriftMonitor(DriftSettings(**settings), self.catalog, DriftMetrics(self.registry))
        self.set(*servables)

    def set(self, *servables: Servable) -> None:
        """These are the versions now."""
        self.catalog.models["digits"].versions = {
            each.version: Version(each.version, State.AVAILABLE, servable=each) for each in servables
        }

    async def see(self, *observations: Observation) -> None:
        """Observes and counts, and refreshes the metrics."""
        for each in observations:
            self.monitor.observe(each)
        for _ in range(FLUSHES):
            await self.monitor.flush()

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a metric of the model."""
        return self.registry.get_sample_value(f"tensorgate_drift_{name}", {"model": "digits", **labels})


def test_a_sketch_counts_every_row() -> None:
    """Each feature in the reference's bins, in the contract's order."""
    found = servable()
    assert found.contract is not None
    sketch = Sketch(found.contract, REFERENCE)
    parts = sketch.parts(sketch.count([observation(found, 40), observation(found, 2, level=0.05)]))
    assert [(feature.kind, feature.name) for feature in sketch.features] == [
        (Kind.INPUT, "mean_intensity"),
        (Kind.INPUT, "image_brightness"),
        (Kind.PREDICTION, "prediction"),
        (Kind.CONFIDENCE, "confidence"),
    ]
    assert [part.sum() for part in parts] == [42] * 4
    assert parts[0][0] >= 2


def test_tensors_have_no_features_of_images_as_they_came() -> None:
    """They are counted for what they have."""
    found = servable()
    assert found.contract is not None
    tensors = observation(found, 7)._replace(sources=[None] * 7)
    sketch = Sketch(found.contract, REFERENCE)
    assert [part.sum() for part in sketch.parts(sketch.count([tensors, observation(found, 2)]))] == [9, 2, 9, 9]


@pytest.mark.parametrize(("task", "answer"), [("regression", Regression(1.0)), ("raw", Raw({"value": np.zeros(1)}))])
def test_without_classes_inputs_are_watched(task: Any, answer: Any) -> None:
    """A table's columns, by the names that the reference gives them; nothing else is counted."""
    contract = digits.contract(
        preprocessing=(),
        golden=(),
        reference=Reference(
            instances=1000, inputs={"age": INPUTS["mean_intensity"], "weight": by_quantiles(GREY * 90)}
        ),
        postprocessing=Postprocessing(task=task, output=None if task == "raw" else "value"),
    )
    rows = np.array([[0.05, 89.0], [0.5, 40.0]], np.float32)
    assert contract.reference is not None
    sketch = Sketch(contract, contract.reference, ignored=["age"])
    seen = Observation(Servable("m", 1, {}, contract), Variant.STABLE, {"image": rows}, [answer] * 2)
    (part,) = sketch.parts(sketch.count([seen]))
    assert part.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


async def test_values_that_move_are_drift() -> None:
    """Of a regression the predicted values are watched, in the reference's bins."""
    rng = np.random.default_rng(0)
    contract = digits.contract(
        preprocessing=(),
        golden=(),
        reference=Reference(instances=1000, inputs={"age": by_quantiles(GREY)}, values=by_quantiles(100 * GREY)),
        postprocessing=Postprocessing(task="regression", output="value"),
    )
    found = Servable("digits", 1, {}, contract)
    watch = Watch(found, look_rows=200)
    for level, state in ((0, set()), (40, {"prediction"})):
        rows = rng.random((200, 1)).astype(np.float32)
        answers = [Regression(float(value)) for value in 100 * rng.random(200) + level]
        await watch.see(Observation(found, Variant.STABLE, {"image": rows}, answers))
        report = await watch.monitor.report(found)
        assert {alarm.feature.name for alarm in report.alarms} == state
    (_, shown) = report.windows[0].comparisons
    assert (shown.feature.kind, shown.rows, shown.feature.labels) == (Kind.PREDICTION, 400, ())
    assert shown.kolmogorov_smirnov is not None


async def test_clean_traffic_is_steady() -> None:
    """Rows, distances and p-values are shown by window; no alarm is on."""
    watch = Watch(servable())
    await watch.see(*(observation(servable(), 250, seed=seed) for seed in range(1)))
    report = await watch.monitor.report(servable())
    assert report.watched
    assert not report.alarms
    assert (report.rows, report.looks) == (250, 1)
    assert report.summary == "no drift in 250 predictions (looks: 1)"
    labels = {"version": "1", "kind": "input", "feature": "mean_intensity"}
    for window in ("300", "3600", "86400"):
        assert watch.metric("rows", version="1", window=window) == 250
        assert 0 < watch.metric("psi", **labels, window=window) < 0.1
        assert 0 < watch.metric("jensen_shannon", **labels, window=window) < 0.2
        assert watch.metric("p_value", **labels, window=window) > 0.01
    assert watch.metric("alarm", **labels) == 0
    assert watch.metric("looks_total", version="1") == 1


async def test_drift_is_said_and_forgotten_when_over() -> None:
    """In words, as a gauge and in the log; and that it is over."""
    watch = Watch(servable())
    with capture_logs() as logs:
        await watch.see(observation(servable(), 250, level=0.9))
        report = await watch.monitor.report(servable())
        labels = {"version": "1", "kind": "input", "feature": "image_brightness"}
        assert watch.metric("alarm", **labels) == 1
        await watch.see(observation(servable(), 250))
    assert {alarm.feature.name for alarm in report.alarms} == {"mean_intensity", "image_brightness"}
    assert report.summary.startswith("drift: ")
    assert "image_brightness (PSI " in report.summary
    assert watch.metric("alarm", **labels) == 0
    events = [(line["event"], line["feature"]) for line in logs]
    assert ("drift", "image_brightness") in events
    assert ("drift over", "image_brightness") in events


async def test_blocks_do_not_grow_with_the_traffic() -> None:
    """However many predictions come at once, each look is at as many as it should be."""
    found = servable()
    watch = Watch(found, look_rows=100, max_rows=1000)
    await watch.see(*(observation(found, 40, seed=seed) for seed in range(20)))
    report = await watch.monitor.report(found)
    # Six of 120 at the first level, one of 480 at the second.
    assert (report.rows, report.looks, report.missing) == (800, 7, 20)
    assert report.windows[0].rows == 800


async def test_too_many_rows_are_left_out_and_counted() -> None:
    """Between two flushes no more is kept than the settings allow, and the batch that exceeds it."""
    watch = Watch(servable(), max_rows=10)
    await watch.see(*(observation(servable(), 8) for _ in range(4)))
    assert (await watch.monitor.report(servable())).rows == 16
    assert watch.metric("skipped_rows_total") == 16


async def test_observing_costs_microseconds() -> None:
    """Beside what one prediction takes, it is next to nothing."""
    watch = Watch(servable(), max_rows=100_000)
    one = observation(servable(), 1)
    started = time.process_time()
    for _ in range(2000):
        watch.monitor.observe(one)
    # Two microseconds or so; the bound leaves room for a slow machine.
    assert (time.process_time() - started) / 2000 < 50e-6


async def test_versions_that_are_gone_are_forgotten() -> None:
    """Their gauges too; one that comes back starts anew."""
    watch = Watch(servable(1), servable(2))
    await watch.see(observation(servable(1), 30), observation(servable(2), 30))
    watch.set(servable(2))
    await watch.see(observation(servable(1), 30))
    assert watch.metric("rows", version="1", window="300") is None
    assert watch.metric("rows", version="2", window="300") == 30
    watch.set(servable(1), servable(2))
    assert (await watch.monitor.report(servable(1))).rows == 0


async def test_other_files_behind_a_version_start_anew() -> None:
    """A version that is read again keeps its counts if its contract is the same."""
    watch = Watch(servable())
    await watch.see(observation(servable(), 30))
    await watch.see(observation(servable(), 30))
    assert (await watch.monitor.report(servable())).rows == 60
    other = servable(reference=REFERENCE.model_copy(update={"instances": 999}))
    watch.set(other)
    await watch.see(observation(servable(), 5), observation(other, 30))
    assert (await watch.monitor.report(other)).rows == 30


async def test_without_a_reference_nothing_is_watched() -> None:
    """And the report says so."""
    watch = Watch(servable(reference=None))
    await watch.see(observation(servable(reference=None), 30))
    report = await watch.monitor.report(servable(reference=None))
    assert not report.watched
    assert report.summary == "the model's contract has no reference to compare with"
    assert watch.metric("rows", version="1", window="300") is None


async def test_a_feature_that_this_gateway_does_not_know() -> None:
    """A newer trainer's contract is watched as far as it is understood."""
    newer = servable(reference=REFERENCE.model_copy(update={"inputs": {"slant": INPUTS["mean_intensity"], **INPUTS}}))
    watch = Watch(newer)
    await watch.see(observation(newer, 250, level=0.9))
    report = await watch.monitor.report(newer)
    assert {alarm.feature.name for alarm in report.alarms} == {"mean_intensity", "image_brightness"}
    assert report.windows[0].comparisons[0].rows == 0
