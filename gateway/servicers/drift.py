"""tensorgate.v1.DriftService."""

from typing import Any

from gateway.call import current_call
from gateway.catalog import Catalog
from gateway.drift.alarms import Alarm
from gateway.drift.comparison import Comparison
from gateway.drift.monitor import DriftMonitor, Report, Window
from gateway.drift.sketch import Kind
from gateway.errors import Unsupported
from gateway.router import route
from gateway.servicers.access import authorized
from tensorgate.v1 import drift_service_pb2 as pb
from tensorgate.v1.drift_service_pb2_grpc import DriftServiceServicer

NAME = "tensorgate.v1.DriftService"
_KINDS = {
    Kind.INPUT: pb.DRIFT_KIND_INPUT,
    Kind.PREDICTION: pb.DRIFT_KIND_PREDICTION,
    Kind.CONFIDENCE: pb.DRIFT_KIND_CONFIDENCE,
}


class Drift(DriftServiceServicer):
    """GetDrift; `monitor` is None where drift is not watched."""

    def __init__(self, catalog: Catalog, monitor: DriftMonitor | None) -> None:
        self._catalog = catalog
        self._monitor = monitor

    async def GetDrift(self, request: pb.GetDriftRequest, context: Any) -> pb.GetDriftResponse:
        """A version's drift."""
        model = authorized(self._catalog, request.model)
        if self._monitor is None:
            raise Unsupported("drift is not watched here: `drift.enabled` is false", reason="DRIFT_DISABLED")
        servable = route(self._catalog, model.name, request.version)
        current_call.get().version = servable.version
        report = await self._monitor.report(servable)
        return pb.GetDriftResponse(
            model=servable.model,
            version=servable.version,
            state=_state(report),
            summary=report.summary,
            alarms=[_alarm(alarm) for alarm in report.alarms],
            rows=report.rows,
            looks=report.looks,
            windows=[_window(window) for window in report.windows],
        )


def _state(report: Report) -> pb.DriftState.ValueType:
    if not report.watched:
        return pb.DRIFT_STATE_NO_REFERENCE
    if report.alarms:
        return pb.DRIFT_STATE_DRIFTED
    return pb.DRIFT_STATE_STEADY if report.looks else pb.DRIFT_STATE_COLLECTING


def _alarm(alarm: Alarm) -> pb.DriftAlarm:
    answer = pb.DriftAlarm(
        kind=_KINDS[alarm.feature.kind],
        feature=alarm.feature.name,
        rows=alarm.rows,
        psi=alarm.psi,
        p_value=alarm.p_value,
    )
    answer.since.FromMicroseconds(round(alarm.since * 1e6))
    return answer


def _window(window: Window) -> pb.DriftWindow:
    answer = pb.DriftWindow(rows=window.rows, features=[_feature(each) for each in window.comparisons])
    answer.duration.FromMicroseconds(round(window.seconds * 1e6))
    return answer


def _feature(comparison: Comparison) -> pb.DriftFeature:
    feature = comparison.feature
    return pb.DriftFeature(
        kind=_KINDS[feature.kind],
        name=feature.name,
        edges=feature.histogram.edges if feature.histogram else (),
        labels=feature.labels,
        reference=feature.reference.tolist(),
        window=comparison.counts.tolist(),
        psi=comparison.psi,
        jensen_shannon=comparison.jensen_shannon,
        chi_squared_p_value=comparison.chi_squared,
        kolmogorov_smirnov_p_value=comparison.kolmogorov_smirnov,
        p_value=comparison.p_value,
    )
