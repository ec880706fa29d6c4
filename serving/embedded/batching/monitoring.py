"""What batching does, in Prometheus's terms: TensorFlow Serving's names (batching_session.cc), and batches' sizes."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.embedded.batching.queue import Batch

RUNS = ":tensorflow:serving:batching_session:wrapped_run_count"
# From 100 µs to about a second.
_MICROSECONDS = tuple(100 * 1.2**power for power in range(52))
_ROWS = tuple(2**power for power in range(13))


class BatchMetrics:
    """What is counted of the batches of a thread pool."""

    def __init__(self, registry: CollectorRegistry, thread_pool: str) -> None:
        self._runs = Counter(RUNS, "Total count of run calls on the wrapped session", registry=registry)
        self._queuing = Histogram(
            ":tensorflow:serving:batching_session:queuing_latency",
            "Distribution of wall time spent (in microseconds) in queuing",
            ("thread_pool_name",),
            buckets=_MICROSECONDS,
            registry=registry,
        ).labels(thread_pool)
        self._rows = Histogram(
            "tensorgate_server_batch_rows", "Rows of a batch, before padding.", buckets=_ROWS, registry=registry
        )

    def count(self, batch: Batch) -> None:
        """Counts a batch that leaves now."""
        now = time.monotonic()
        self._runs.inc()
        self._rows.observe(batch.size)
        for task in batch.tasks:
            self._queuing.observe((now - task.since) * 1e6)
