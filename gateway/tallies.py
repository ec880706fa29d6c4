"""Metrics of the hot path: gathered in plain lists, and taken over by Prometheus' together, when somebody looks."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.registry import Collector


class Tallies(Collector):
    """What is taken over before each scrape; registered before the metrics that it feeds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._flushes: list[Callable[[], None]] = []
        registry.register(self)

    def add(self, flush: Callable[[], None]) -> None:
        """Has `flush` called each time."""
        self._flushes.append(flush)

    def flush(self) -> None:
        """Takes everything over; to be called now and then, so that not too much gathers between scrapes."""
        for flush in self._flushes:
            flush()

    def describe(self) -> Iterable[Metric]:
        """Nothing of its own."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Nothing of its own, but what the others have to say is up to date."""
        self.flush()
        return ()


class Observations:
    """Observations of a histogram by labels."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._gathered: dict[tuple[str, ...], list[float]] = {}

    def of(self, *labels: str) -> Callable[[float], None]:
        """Takes one observation."""
        return self._gathered.setdefault(labels, []).append

    def observe(self, value: float, exemplar: dict[str, str], *labels: str) -> None:
        """Takes one observation over at once, for its bucket to have the exemplar."""
        self._histogram.labels(*labels).observe(value, exemplar)

    def flush(self) -> None:
        """Hands over what has gathered."""
        for labels, values in self._gathered.items():
            if values:
                observe_all(self._histogram.labels(*labels), values)
                values.clear()


def observe_all(histogram: Histogram, values: list[float]) -> None:
    """Observes all of `values`, not empty; `histogram` is the child with its labels."""
    # One by one it would take a microsecond each, and there is no public way to do it together.
    parts: Any = histogram
    bounds = parts._upper_bounds  # noqa: SLF001
    counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds)).tolist()
    parts._sum.inc(sum(values))  # noqa: SLF001
    for bucket, count in zip(parts._buckets, counts, strict=True):  # noqa: SLF001
        if count:
            bucket.inc(count)
