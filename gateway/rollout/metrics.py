"""What Prometheus hears of roll-outs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

EVIDENCE = "tensorgate_rollout_evidence"
_DISTANCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


class RolloutMetrics:
    """The metrics of roll-outs, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evidence = Counter(
            EVIDENCE,
            "Outcomes of a running roll-out's versions, good or bad, by metric: errors, latency, disagreement, "
            "confidence.",
            ("model", "version", "variant", "metric", "outcome"),
            registry=registry,
        )
        self.share = Gauge(
            "tensorgate_rollout_share",
            "Share of default traffic that a version of the plan answers, 0 to 1.",
            ("model", "version", "variant"),
            registry=registry,
        )
        self.running = Gauge(
            "tensorgate_rollout_running", "1 while a roll-out is under way.", ("model",), registry=registry
        )
        self.generation = Gauge(
            "tensorgate_rollout_generation", "Changes of the model's plan so far.", ("model",), registry=registry
        )
        self.step_started = Gauge(
            "tensorgate_rollout_step_started_timestamp_seconds",
            "When the plan was last changed, in seconds since 1970.",
            ("model",),
            registry=registry,
        )
        self.available = Gauge(
            "tensorgate_rollout_version_available",
            "1 if a version of the plan can answer; while it is 0 others answer in its stead.",
            ("model", "variant"),
            registry=registry,
        )
        self.against = Gauge(
            "tensorgate_rollout_evidence_ratio",
            "Logarithm of the evidence that the candidate is worse over that of what takes it back; 1 is enough.",
            ("model", "metric"),
            registry=registry,
        )
        self.difference = Gauge(
            "tensorgate_rollout_difference",
            "How much more frequent bad outcomes are with the candidate than with stable, -1 to 1.",
            ("model", "metric"),
            registry=registry,
        )
        self.decisions = Counter(
            "tensorgate_rollout_changes",
            "Changes of plans that this gateway made, by action.",
            ("model", "action"),
            registry=registry,
        )
        self.plan_errors = Counter(
            "tensorgate_rollout_plan_errors",
            "Looks at a plan that found it unreadable, or the store away; the last good plan stays.",
            ("model",),
            registry=registry,
        )
        self.evidence_errors = Counter(
            "tensorgate_rollout_evidence_errors",
            "Looks at evidence that failed: Prometheus or the labels could not be read.",
            ("model",),
            registry=registry,
        )
        self.failovers = Counter(
            "tensorgate_rollout_failovers", "Calls that stable answered for a candidate.", ("model",), registry=registry
        )
        self.shadowed = Counter(
            "tensorgate_rollout_shadow_requests",
            "Copies of requests for a candidate in the shadow, by outcome: answered, failed, dropped.",
            ("model", "outcome"),
            registry=registry,
        )
        self.distance = Histogram(
            "tensorgate_rollout_score_distance",
            "How far the candidate's answer in the shadow is from stable's: total variation of the scores, or the "
            "difference of the values.",
            ("model",),
            buckets=_DISTANCES,
            registry=registry,
        )

    def forget(self, model: str) -> None:
        """Drops what says how a roll-out stands that is there no more; what has been counted stays."""
        for gauge in (
            self.share,
            self.running,
            self.generation,
            self.step_started,
            self.available,
            self.against,
            self.difference,
        ):
            gauge.remove_by_labels({"model": model})
