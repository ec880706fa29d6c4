"""The gateway's Prometheus metrics. Labels are bounded: methods, models and clients that exist, and status codes."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

# Half a millisecond to ten seconds: finer where a prediction lives, coarser where only time-outs are.
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Every metric, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        call = ("method", "model", "version", "code")
        self.calls = Counter(
            "tensorgate_calls",
            "Calls that ended, by status code and client.",
            (*call, "client"),
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "tensorgate_call_seconds", "Time from request to answer.", call, buckets=SECONDS, registry=self.registry
        )
        self.in_flight = Gauge(
            "tensorgate_calls_in_flight", "Calls being answered.", ("method",), registry=self.registry
        )
        self.calls_waiting = Gauge(
            "tensorgate_calls_waiting", "Calls that wait for their turn.", registry=self.registry
        )
        self.rejections = Counter(
            "tensorgate_rejections",
            "Calls refused because of a limit, by reason and by what is limited: client, model, gateway.",
            ("reason", "limit"),
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "tensorgate_certificate_expiry_timestamp_seconds",
            "When the gateway's certificate expires, in seconds since 1970; 0 without TLS.",
            registry=self.registry,
        )
        self.key_expiry = Gauge(
            "tensorgate_key_expiry_timestamp_seconds",
            "When the last of a client's API keys expires, in seconds since 1970; +Inf for never.",
            ("client",),
            registry=self.registry,
        )
        self.limit_store_down = Gauge(
            "tensorgate_limit_store_down",
            "1 while Redis is away and the limits are counted, or refused, by this replica alone.",
            registry=self.registry,
        )
        self.stream_messages = Counter(
            "tensorgate_stream_messages",
            "Messages of streams that were answered, by status code.",
            ("method", "model", "code"),
            registry=self.registry,
        )
        self.instance_errors = Counter(
            "tensorgate_instance_errors",
            "Instances that could not be answered, by reason.",
            ("model", "reason"),
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "tensorgate_stage_seconds",
            "Time in one stage of a prediction: preprocess, queue, upstream.",
            ("model", "stage"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "tensorgate_batch_rows", "Rows in one upstream call.", ("model",), buckets=ROWS, registry=self.registry
        )
        self.backend_up = Gauge(
            "tensorgate_backend_up",
            "1 if the backend answered the last poll for this model.",
            ("model",),
            registry=self.registry,
        )
        self.backend_server_up = Gauge(
            "tensorgate_backend_server_up",
            "1 if the model server answered the last poll.",
            ("server",),
            registry=self.registry,
        )
        self.backend_breaker_open = Gauge(
            "tensorgate_backend_breaker_open",
            "1 while predictions are refused because the model servers do not answer.",
            registry=self.registry,
        )
        self.backend_hedges = Counter(
            "tensorgate_backend_hedges", "Predictions that were sent a second time.", registry=self.registry
        )
        self.cache_lookups = Counter(
            "tensorgate_cache_lookups",
            "Predictions looked for in the response cache, by outcome: hit or miss.",
            ("model", "outcome"),
            registry=self.registry,
        )
        self.model_version = Gauge(
            "tensorgate_model_version",
            "The version that answers by default; 0 for none.",
            ("model",),
            registry=self.registry,
        )
        self.refused_versions = Gauge(
            "tensorgate_refused_versions",
            "Versions that the backend serves and the gateway refuses to route to.",
            ("model",),
            registry=self.registry,
        )

    def forget_model(self, name: str) -> None:
        """Drops what says how a model is that is no longer served; what has been counted stays."""
        for gauge in (self.backend_up, self.model_version, self.refused_versions):
            gauge.remove_by_labels({"model": name})
