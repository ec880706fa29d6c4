"""What drift monitoring exposes to Prometheus."""

import math
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.drift.comparison import Comparison
from gateway.drift.sketch import Feature

_VERSION = ("model", "version")
_FEATURE = (*_VERSION, "kind", "feature")


class DriftMetrics:
    """Gauges by version, window and feature. `kind` is input, prediction or confidence; names are the contract's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        windowed = (*_FEATURE, "window")
        self._psi = Gauge(
            "tensorgate_drift_psi",
            "Population stability index of a window (seconds) against the reference; NaN without predictions.",
            windowed,
            registry=registry,
        )
        self._jensen_shannon = Gauge(
            "tensorgate_drift_jensen_shannon",
            "Jensen-Shannon distance of a window (seconds) from the reference, 0 to 1; NaN without predictions.",
            windowed,
            registry=registry,
        )
        self._p_value = Gauge(
            "tensorgate_drift_p_value",
            "Chance of as large a difference without drift, looked at once, corrected over all features.",
            windowed,
            registry=registry,
        )
        self._rows = Gauge(
            "tensorgate_drift_rows", "Predictions counted in a window.", (*_VERSION, "window"), registry=registry
        )
        self._alarm = Gauge(
            "tensorgate_drift_alarm",
            "1 while a feature has drifted, at a false-alarm rate that holds over all looks.",
            _FEATURE,
            registry=registry,
        )
        self._looks = Counter("tensorgate_drift_looks", "Times a version was judged.", _VERSION, registry=registry)
        self.skipped = Counter(
            "tensorgate_drift_skipped_rows",
            "Predictions that came too fast to be counted.",
            ("model",),
            registry=registry,
        )

    def window(self, version: Sequence[str], seconds: float, rows: int, comparisons: Sequence[Comparison]) -> None:
        """Shows one window of a version, (model, version)."""
        window = f"{seconds:g}"
        self._rows.labels(*version, window).set(rows)
        for each in comparisons:
            labels = (*version, each.feature.kind.value, each.feature.name, window)
            self._psi.labels(*labels).set(each.psi)
            self._jensen_shannon.labels(*labels).set(each.jensen_shannon)
            self._p_value.labels(*labels).set(each.p_value if each.rows else math.nan)

    def alarms(self, version: Sequence[str], features: Sequence[Feature], raised: set[Feature], looks: int) -> None:
        """Shows which features have drifted after `looks` more looks."""
        self._looks.labels(*version).inc(looks)
        for feature in features:
            self._alarm.labels(*version, feature.kind.value, feature.name).set(feature in raised)

    def forget(self, version: Sequence[str]) -> None:
        """Drops the gauges of a version; what has been counted stays."""
        for gauge in (self._psi, self._jensen_shannon, self._p_value, self._rows, self._alarm):
            gauge.remove_by_labels(dict(zip(_VERSION, version, strict=True)))
