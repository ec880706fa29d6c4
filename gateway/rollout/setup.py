"""Puts roll-outs together from the settings."""

from collections.abc import Callable

from gateway.catalog import Catalog
from gateway.metrics import Metrics
from gateway.rollout.evidence import Labels
from gateway.rollout.files import open_files
from gateway.rollout.metrics import RolloutMetrics
from gateway.rollout.prometheus import PrometheusSource
from gateway.rollout.rollouts import Rollouts
from gateway.rollout.store import PlanStore
from gateway.settings.rollout import RolloutSettings


def rollouts_of(
    settings: RolloutSettings,
    catalog: Catalog,
    metrics: Metrics,
    *,
    busy: Callable[[], bool],
    labels: Labels | None = None,
) -> Rollouts | None:
    """The roll-outs; None where no plans are kept. PlaceError if `settings.plans` is no place for them."""
    if settings.plans is None:
        return None
    return Rollouts(
        PlanStore(open_files(settings.plans)),
        catalog,
        RolloutMetrics(metrics.registry),
        settings,
        busy=busy,
        elsewhere=PrometheusSource(settings.prometheus) if settings.prometheus else None,
        labels=labels,
    )
