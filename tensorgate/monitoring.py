"""How models do in production: what the gateway says of their quality and drift, as plain typed values."""

from collections.abc import Mapping
from dataclasses import dataclass

from tensorgate.v1 import drift_service_pb2 as drift_pb
from tensorgate.v1 import quality_service_pb2 as quality_pb

WINDOWS = {
    "1h": quality_pb.QUALITY_WINDOW_HOUR,
    "24h": quality_pb.QUALITY_WINDOW_DAY,
    "7d": quality_pb.QUALITY_WINDOW_WEEK,
    "all": quality_pb.QUALITY_WINDOW_ALL,
}
_NAMES = {number: name for name, number in WINDOWS.items()}
FIGURES = ("accuracy", "macro_f1", "log_loss", "brier", "calibration_error", "rmse", "mae", "bias")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95% confidence interval, whose ends are None where there are too few labels to tell."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a version was, as one variant, over a window. `message` has all that the gateway says of it."""

    model: str
    version: int
    variant: str
    """stable, candidate or shadow."""
    window: str
    """1h, 24h, 7d or all."""
    predictions: int
    labels: int
    """Predictions whose truth is known."""
    coverage: Figure
    """Their share."""
    figures: Mapping[str, Figure]
    """By name, of classes accuracy, macro_f1, log_loss, brier and calibration_error, of values rmse, mae and
    bias; empty without labels."""
    estimated_accuracy: Figure | None
    """An estimate, by confidence, of the accuracy of the predictions without labels; None if there is none."""
    message: quality_pb.Quality


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether a version's inputs and answers are distributed as on its held-out data. `message` has all of it."""

    model: str
    version: int
    state: str
    """no_reference, collecting, steady or drifted."""
    summary: str
    """The same in one sentence."""
    drifted: tuple[str, ...]
    """Names of the features that have drifted."""
    rows: int
    """Predictions counted so far."""
    message: drift_pb.GetDriftResponse


def quality_request(model: str, version: int, window: str) -> quality_pb.GetQualityRequest:
    """The request; ValueError for a window that there is not."""
    if window and window not in WINDOWS:
        raise ValueError(f"there is no window {window!r}; expected {', '.join(WINDOWS)}, or none for all of them")
    number = WINDOWS[window] if window else quality_pb.QUALITY_WINDOW_UNSPECIFIED
    return quality_pb.GetQualityRequest(model=model, version=version, window=number)


def qualities(answer: quality_pb.GetQualityResponse) -> list[Quality]:
    """The quality of each version, variant and window."""
    return [_quality(answer.model, message) for message in answer.qualities]


def _quality(model: str, message: quality_pb.Quality) -> Quality:
    kind = message.WhichOneof("figures")
    figures = getattr(message, kind) if kind else None
    found = {name: getattr(figures, name) for name in FIGURES if figures and name in figures.DESCRIPTOR.fields_by_name}
    estimate = message.estimated_accuracy
    return Quality(
        model,
        message.version,
        message.variant,
        _NAMES.get(message.window, ""),
        message.predictions,
        message.labels,
        _figure(message.label_coverage),
        {name: _figure(figure) for name, figure in found.items()},
        _figure(estimate.accuracy) if message.HasField("estimated_accuracy") else None,
        message,
    )


def drift(message: drift_pb.GetDriftResponse) -> Drift:
    """One version's drift."""
    state = drift_pb.DriftState.Name(message.state).removeprefix("DRIFT_STATE_").lower()
    drifted = tuple(alarm.feature for alarm in message.alarms)
    return Drift(message.model, message.version, state, message.summary, drifted, message.rows, message)


def _figure(message: quality_pb.QualityFigure) -> Figure:
    low, high = (getattr(message, name) if message.HasField(name) else None for name in ("low", "high"))
    return Figure(message.value, low, high)
