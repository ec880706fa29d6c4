"""The qualities as Prometheus gauges: made of what was last read, so that what is no more is not told of."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.quality.classification import ClassificationQuality
from gateway.quality.intervals import Figure
from gateway.quality.regression import RegressionQuality
from gateway.quality.report import Quality, Window

# A model with more classes has no gauges of each.
MAX_CLASSES = 100
_GROUP = ("model", "version", "variant", "window")
_TEXTS = {
    "predictions": "Predictions made in the window.",
    "labels": "Predictions in the window that have a label.",
    "label_coverage": "Share of the predictions that have a label.",
    "label_delay_seconds": "Mean time from a prediction to its label.",
    "accuracy": "Share of the labelled predictions that are right.",
    "macro_f1": "Mean F1 score of the classes.",
    "log_loss": "Mean log loss; of wrong answers the least that it can be.",
    "brier": "Mean squared difference of confidence and being right.",
    "calibration_error": "Expected calibration error of the confidence.",
    "estimated_accuracy": "An estimate, by calibrated confidence: the accuracy of predictions without labels.",
    "class_precision": "Share of the predictions of the class that are right.",
    "class_recall": "Share of the labels of the class that were predicted.",
    "class_f1": "F1 score of the class.",
    "rmse": "Root mean squared error, in the target's unit.",
    "mae": "Mean absolute error, in the target's unit.",
    "bias": "Mean of prediction less label, in the target's unit.",
}
# Those that come with an interval, in gauges of their own.
_BOUNDED = (
    "accuracy",
    "macro_f1",
    "log_loss",
    "brier",
    "calibration_error",
    "estimated_accuracy",
    "rmse",
    "mae",
    "bias",
)

ClassName = Callable[[str, int, int], str]


class QualityMetrics(Collector):
    """Gauges `tensorgate_quality_…` of versions that predicted within a week; `latest` has the qualities by model.

    `class_name` names a class by model, version and index.
    """

    def __init__(
        self, registry: CollectorRegistry, latest: Callable[[], Mapping[str, list[Quality]]], class_name: ClassName
    ) -> None:
        self._latest = latest
        self._class_name = class_name
        registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        """The gauges' names, for the registry to tell duplicates."""
        return list(_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges as of the last reading."""
        families = _families()
        for model, qualities in self._latest().items():
            recent = {(each.version, each.variant) for each in qualities if each.window is Window.WEEK}
            for quality in qualities:
                if (quality.version, quality.variant) in recent:
                    self._add(families, model, quality)
        yield from families.values()

    def _add(self, families: dict[str, GaugeMetricFamily], model: str, quality: Quality) -> None:
        group = [model, str(quality.version), quality.variant.name.lower(), quality.window.value]
        for name, value in _figures(quality).items():
            if isinstance(value, Figure):
                families[name].add_metric(group, value.value)
                if name in _BOUNDED and value.low is not None and value.high is not None:
                    families[f"{name}_low"].add_metric(group, value.low)
                    families[f"{name}_high"].add_metric(group, value.high)
            elif value is not None:
                families[name].add_metric(group, value)
        figures = quality.figures
        if isinstance(figures, ClassificationQuality) and len(figures.classes) <= MAX_CLASSES:
            for each in figures.classes:
                labels = [*group, self._class_name(model, quality.version, each.index)]
                for name in ("precision", "recall", "f1"):
                    figure: Figure | None = getattr(each, name)
                    if figure is not None:
                        families[f"class_{name}"].add_metric(labels, figure.value)


def _figures(quality: Quality) -> dict[str, Figure | float | None]:
    found: dict[str, Figure | float | None] = {
        "predictions": quality.predictions,
        "labels": quality.labelled,
        "label_coverage": quality.coverage,
        "label_delay_seconds": quality.delay,
        "estimated_accuracy": quality.estimate.accuracy if quality.estimate else None,
    }
    figures = quality.figures
    if isinstance(figures, ClassificationQuality):
        names: tuple[str, ...] = ("accuracy", "macro_f1", "log_loss", "brier", "calibration_error")
    else:
        names = ("rmse", "mae", "bias") if isinstance(figures, RegressionQuality) else ()
    return found | {name: getattr(figures, name) for name in names}


def _families() -> dict[str, GaugeMetricFamily]:
    families = {}
    for name, text in _TEXTS.items():
        labels = (*_GROUP, "class") if name.startswith("class_") else _GROUP
        families[name] = GaugeMetricFamily(f"tensorgate_quality_{name}", text, labels=labels)
    for name in _BOUNDED:
        for side, word in (("low", "Lower"), ("high", "Upper")):
            text = f"{word} end of the 95% confidence interval of tensorgate_quality_{name}."
            families[f"{name}_{side}"] = GaugeMetricFamily(f"tensorgate_quality_{name}_{side}", text, labels=_GROUP)
    return families
