"""What the booking of labels is measured by."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# A second to a month: labels come from buttons as well as from audits.
_DELAYS = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class FeedbackMetrics:
    """Of labels and the database that keeps them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.labels = Counter(
            "tensorgate_feedback_labels",
            "Labels that were taken, by outcome: booked, changed, unchanged.",
            ("model", "outcome"),
            registry=registry,
        )
        self.refusals = Counter(
            "tensorgate_feedback_refusals", "Labels that were refused, by reason.", ("reason",), registry=registry
        )
        self.delay_seconds = Histogram(
            "tensorgate_feedback_delay_seconds",
            "Time from a prediction to its label.",
            ("model", "version", "variant"),
            buckets=_DELAYS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "tensorgate_feedback_commit_seconds",
            "Time to make a batch of labels durable.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge("tensorgate_feedback_labels_waiting", "Labels that wait to be written.", registry=registry)
        self.database_up = Gauge(
            "tensorgate_feedback_database_up",
            "1 if the database of labels could last be written.",
            registry=registry,
        )
        self.pruned = Counter(
            "tensorgate_feedback_pruned_labels",
            "Labels that were deleted for their age.",
            registry=registry,
        )
        self.predictions_lost = Counter(
            "tensorgate_feedback_predictions_uncounted",
            "Predictions that were not counted because the database was away for too long.",
            registry=registry,
        )
