"""The metrics of several processes as those of one.

Counters and histograms are added up, those of workers that have ended included. A gauge is what `GAUGES` says; of
qualities, which all read in one database, one worker's are told. Any other gauge, and every figure of a process
(`process_…`, `python_…`), has a label `worker`.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

Family = list[Any]
"""Name, help, type, unit and samples; a sample is its name, labels, value and exemplar: [labels, value, time]."""
Snapshot = list[Family]

GAUGES: Mapping[str, Callable[[float, float], float]] = {
    "tensorgate_calls_in_flight": operator.add,
    "tensorgate_calls_waiting": operator.add,
    "tensorgate_certificate_expiry_timestamp_seconds": min,
    "tensorgate_key_expiry_timestamp_seconds": min,
    "tensorgate_limit_store_down": max,
    "tensorgate_backend_up": min,
    "tensorgate_backend_server_up": min,
    "tensorgate_backend_breaker_open": max,
    "tensorgate_model_version": min,
    "tensorgate_refused_versions": max,
    "tensorgate_feedback_labels_waiting": operator.add,
    "tensorgate_feedback_database_up": min,
    "tensorgate_rollout_share": max,
    "tensorgate_rollout_running": max,
    "tensorgate_rollout_generation": max,
    "tensorgate_rollout_step_started_timestamp_seconds": max,
    "tensorgate_rollout_version_available": min,
    "tensorgate_drift_rows": operator.add,
    "tensorgate_drift_alarm": max,
}
# Of what all workers read in one place, each tells the same.
_SHARED = "tensorgate_quality_"
_ADDED = ("counter", "histogram", "summary")
_OF_A_PROCESS = ("process_", "python_")


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """What a process has measured so far."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            family.unit,
            [[s.name, s.labels, s.value, _exemplar(s.exemplar)] for s in family.samples],
        ]
        for family in registry.collect()
    ]


def kept(found: Snapshot) -> Snapshot:
    """What is still counted when the process has ended."""
    return [family for family in found if _is_added(family)]


def merged(workers: Mapping[str, Snapshot], ended: Sequence[Snapshot] = ()) -> Snapshot:
    """The metrics of live `workers` by name and of those that have `ended`."""
    families: dict[str, Family] = {}
    samples: dict[str, dict[Any, list[Any]]] = {}
    live: Iterable[tuple[str, Snapshot]] = workers.items()
    for worker, found in (*live, *(("", found) for found in ended)):
        for family in found:
            name = family[0]
            combine = _combination(family)
            into = samples.setdefault(name, {})
            families.setdefault(name, family)
            for sample_name, labels, value, exemplar in family[4]:
                own = labels if combine else labels | {"worker": worker}
                key = (sample_name, tuple(sorted(own.items())))
                known = into.setdefault(key, [sample_name, own, None, None])
                if known[2] is None or combine is None:
                    known[2] = value
                else:
                    # When something was first counted is no amount.
                    known[2] = min(known[2], value) if sample_name.endswith("_created") else combine(known[2], value)
                if exemplar is not None and (known[3] is None or known[3][2] < exemplar[2]):
                    known[3] = exemplar
    return [[*family[:4], list(samples[name].values())] for name, family in families.items()]


class Merged:
    """A snapshot as prometheus_client's encoders take registries."""

    def __init__(self, found: Snapshot) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """The families."""
        for name, text, kind, unit, samples in self._found:
            family = Metric(name, text, kind, unit)
            for sample, labels, value, exemplar in samples:
                family.add_sample(sample, labels, value, exemplar=Exemplar(*exemplar) if exemplar else None)
            yield family


def _combination(family: Family) -> Callable[[float, float], float] | None:
    """How two processes' values become one; None if they stay apart."""
    if family[0].startswith(_SHARED):
        return lambda first, _: first
    return operator.add if _is_added(family) else GAUGES.get(family[0])


def _is_added(family: Family) -> bool:
    return family[2] in _ADDED and not family[0].startswith(_OF_A_PROCESS)


def _exemplar(found: Exemplar | None) -> list[Any] | None:
    return None if found is None else [found.labels, found.value, float(found.timestamp or 0.0)]
