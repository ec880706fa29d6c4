"""tensorgate.v1.QualityService."""

from typing import Any

from gateway.catalog import Catalog
from gateway.errors import InvalidInput
from gateway.feedback.labels import CONFIDENCE_BINS
from gateway.feedback.tasks import Tasks
from gateway.quality.classification import ClassificationQuality
from gateway.quality.intervals import Figure
from gateway.quality.report import Quality, Window
from gateway.quality.watch import QualityWatch
from gateway.servicers.access import authorized
from tensorgate.v1 import quality_service_pb2 as pb
from tensorgate.v1.quality_service_pb2_grpc import QualityServiceServicer

NAME = "tensorgate.v1.QualityService"
_WINDOWS = {
    Window.HOUR: pb.QUALITY_WINDOW_HOUR,
    Window.DAY: pb.QUALITY_WINDOW_DAY,
    Window.WEEK: pb.QUALITY_WINDOW_WEEK,
    Window.ALL: pb.QUALITY_WINDOW_ALL,
}


class QualityServicer(QualityServiceServicer):
    """GetQuality."""

    def __init__(self, watch: QualityWatch, catalog: Catalog, tasks: Tasks) -> None:
        self._watch = watch
        self._catalog = catalog
        self._tasks = tasks

    async def GetQuality(self, request: pb.GetQualityRequest, context: Any) -> pb.GetQualityResponse:
        """How good a model is."""
        if request.window not in (pb.QUALITY_WINDOW_UNSPECIFIED, *_WINDOWS.values()):
            raise InvalidInput(f"there is no window {request.window}", field="window")
        model = authorized(self._catalog, request.model).name
        return pb.GetQualityResponse(
            model=model,
            qualities=[
                self._quality(model, quality)
                for quality in await self._watch.qualities(model)
                if request.version in (0, quality.version)
                and request.window in (pb.QUALITY_WINDOW_UNSPECIFIED, _WINDOWS[quality.window])
            ],
        )

    def _quality(self, model: str, quality: Quality) -> pb.Quality:
        message = pb.Quality(
            version=quality.version,
            variant=quality.variant.name.lower(),
            window=_WINDOWS[quality.window],
            predictions=quality.predictions,
            labels=quality.labelled,
            label_coverage=_figure(quality.coverage),
        )
        if quality.begin:
            message.begin.FromSeconds(int(quality.begin))
        if quality.delay is not None:
            message.label_delay.FromMicroseconds(round(quality.delay * 1e6))
        figures = quality.figures
        if isinstance(figures, ClassificationQuality):
            message.classification.CopyFrom(self._classification(model, quality.version, figures))
        elif figures is not None:
            message.regression.CopyFrom(
                pb.RegressionQuality(rmse=_figure(figures.rmse), mae=_figure(figures.mae), bias=_figure(figures.bias))
            )
        if quality.estimate is not None:
            message.estimated_accuracy.CopyFrom(
                pb.EstimatedAccuracy(
                    accuracy=_figure(quality.estimate.accuracy),
                    predictions=quality.estimate.predictions,
                    labels=quality.estimate.labels,
                )
            )
        return message

    def _classification(self, model: str, version: int, figures: ClassificationQuality) -> pb.ClassificationQuality:
        return pb.ClassificationQuality(
            accuracy=_figure(figures.accuracy),
            macro_f1=_figure(figures.macro_f1),
            log_loss=_figure(figures.log_loss),
            brier=_figure(figures.brier),
            calibration_error=_figure(figures.calibration_error),
            classes=[
                pb.ClassQuality(
                    label=self._tasks.class_name(model, version, each.index),
                    class_index=each.index,
                    actual=each.actual,
                    predicted=each.predicted,
                    precision=_figure(each.precision),
                    recall=_figure(each.recall),
                    f1=_figure(each.f1),
                )
                for each in figures.classes
            ],
            confusion=[
                pb.ConfusionCell(actual=actual, predicted=predicted, count=count)
                for (actual, predicted), count in figures.confusion.items()
            ],
            calibration=[
                pb.CalibrationBin(
                    upper_edge=(place + 1) / CONFIDENCE_BINS,
                    labels=each.n,
                    accuracy=each.right / each.n if each.n else 0.0,
                    confidence=each.confidence,
                )
                for place, each in enumerate(figures.calibration)
            ],
        )


def _figure(figure: Figure | None) -> pb.QualityFigure | None:
    return pb.QualityFigure(value=figure.value, low=figure.low, high=figure.high) if figure is not None else None
