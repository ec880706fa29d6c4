"""Prometheus metrics: TensorFlow Serving's, under its names, and what it leaves out: failures' latencies, versions.

Sources: tensorflow_serving/servables/tensorflow/util.cc, util/prometheus_exporter.cc.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from serving.embedded.batching.monitoring import RUNS
from serving.embedded.text_proto import ConfigFileError, read_text_proto
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import ServingError

_DEFAULT_PATH = "/monitoring/prometheus/metrics"
# From 10 µs to about 20 minutes.
_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_COUNT = ":tensorflow:serving:request_count"
# Names that callers make up must not make series.
_UNKNOWN_MODEL = "(unknown)"


def metrics_path(path: Path) -> str | None:
    """Where a file of --monitoring_config_file wants the metrics, None if it does not; ConfigFileError."""
    config = read_text_proto(path, tfs.MonitoringConfig()).prometheus_config
    if not config.enable:
        return None
    if config.path and not config.path.startswith("/"):
        raise ConfigFileError(f"{path}: expected a path that begins with /, not {config.path!r}")
    return config.path or _DEFAULT_PATH


class Request:
    """A request under way."""

    version: int | None = None
    """The version that answered, once one has."""


class Metrics:
    """What is counted, in a registry of its own; `is_known` says whether a model of a name is configured."""

    def __init__(self, is_known: Callable[[str], bool], available: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._is_known = is_known
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Versions(available))
        self._count = Counter(_COUNT, "The total number of requests.", ("model_name", "status"), registry=self.registry)
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Wall time in microseconds of requests that succeeded.",
            ("model_name", "API", "entrypoint"),
            buckets=_MICROSECONDS,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tensorgate_server_request_seconds",
            "Wall time of requests, by the version that answered ('' if none did) and status.",
            ("model", "version", "api", "entrypoint", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )

    @contextmanager
    def request(self, name: str, api: str, entrypoint: str) -> Iterator[Request]:
        """Counts what is done in this context as a request for the model `name`."""
        request, status, began = Request(), "OK", time.perf_counter()
        try:
            yield request
        except ServingError as error:
            status = error.code.name
            raise
        except Exception:
            status = "INTERNAL"
            raise
        except BaseException:
            # The caller has left.
            status = "CANCELLED"
            raise
        finally:
            seconds = time.perf_counter() - began
            model = name if self._is_known(name) else _UNKNOWN_MODEL
            self._count.labels(model, status).inc()
            if status == "OK":
                self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)
            version = "" if request.version is None else str(request.version)
            self._seconds.labels(model, version, api.lower(), entrypoint, status).observe(seconds)

    def page(self) -> bytes:
        """All in Prometheus's text format."""
        # The library ends a counter's name with _total; TFS does not.
        page = generate_latest(self.registry)
        for name in (_COUNT, RUNS):
            page = page.replace(f"{name}_total".encode(), name.encode())
        return page


class _Versions(Collector):
    """The versions that are AVAILABLE now."""

    def __init__(self, available: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._available = available

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector.collect."""
        gauge = GaugeMetricFamily(
            "tensorgate_server_version_available", "1 for each version that answers.", labels=("model", "version")
        )
        for name, number in self._available():
            gauge.add_metric((name, str(number)), 1)
        yield gauge
