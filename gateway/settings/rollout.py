"""The settings of roll-outs."""

from typing import Annotated

from pydantic import Field

from gateway.settings.guards import Section

Rate = Annotated[float, Field(ge=0, le=1)]


class RolloutSettings(Section):
    """Roll-outs: moving a model's traffic from one version to the next by evidence (`docs/rollouts.md`)."""

    plans: str | None = None
    """Where plans are, a directory or a URL (`file://`, `gs://`, `s3://`) that every replica reads and writes: the
    model store is a good place. `<plans>/<model>/rollout.json` is a model's plan. Default: there are no roll-outs, and
    the highest version answers."""
    pin: bool = False
    """Whether a model without a plan gets one that keeps it at the version that answers, so that not even the first new
    version takes traffic by itself."""
    poll_interval: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between two looks at plans and evidence."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The most often that a candidate which is as good as stable may be taken back, as a share of roll-outs."""
    replicas: Annotated[int, Field(ge=1)] = 1
    """Gateways that judge by counters of their own; each is allowed its part of `false_alarm`. Without effect with
    `prometheus`."""
    prometheus: Annotated[str, Field(pattern=r"^https?://[^/?#]+[^?#]*$")] | None = None
    """A Prometheus server that scrapes every replica: all then judge by what all have counted."""
    max_error_increase: Rate = 0.001
    """A candidate whose failures are more frequent than stable's by no more than this stays. 0.001 is one in 1,000."""
    latency_factor: Annotated[float, Field(ge=1)] = 1.5
    """An answer is slow if it takes this many times as long as 90 % of stable's."""
    max_slow_increase: Rate = 0.05
    """How much more frequent slow answers may be."""
    max_disagreement: Rate = 0.1
    """How often a candidate in the shadow may answer differently."""
    agreement_tolerance: Annotated[float, Field(ge=0)] = 0.1
    """By how much numbers may differ and agree, relative to the larger one, or be off and right, relative to the label;
    classes must be the same."""
    max_confidence_drop: Rate = 0.1
    """How much more frequent answers may be of less confidence than 90 % of stable's."""
    max_quality_drop: Rate = 0.01
    """How much more frequent wrong answers may be, by the labels that callers send back."""
    shadow_concurrency: Annotated[int, Field(ge=1)] = 4
    """Copies of requests at once; further ones are dropped."""
