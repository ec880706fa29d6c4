"""gateway.quality.report, by way of a real database: figures against scikit-learn on the same data."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from gateway.feedback.database import connect
from gateway.feedback.labels import Label, Sums, bucket, confidence_bin, plus
from gateway.feedback.store import Store, Task
from gateway.observations import Variant
from gateway.quality import outcomes, report
from gateway.quality.classification import ClassificationQuality
from gateway.quality.regression import RegressionQuality
from gateway.quality.report import Quality, Window

HOUR, DAY = 3600.0, 86400.0
N = 1500


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database that knows two versions of `digits` and one of `price`."""
    store = Store(connect(f"sqlite:///{tmp_path / 'labels.db'}"))
    store.describe(
        {
            ("digits", 1): Task("classification", tuple("abc")),
            ("digits", 2): Task("classification", tuple("abc")),
            ("price", 1): Task("regression"),
        }
    )
    yield store
    store.close()


def qualities(store: Store, model: str = "digits") -> dict[tuple[int, Window], Quality]:
    """What is there of the stable variant, by version and window."""
    found = store.read(partial(report.read, model=model))
    return {(each.version, each.window): each for each in found if each.variant is Variant.STABLE}


def label(model: str = "digits", version: int = 1, age: float = 60.0, delay: float = 30.0, **fields: Any) -> Label:
    """A label of a prediction `age` seconds ago."""
    made = time.time() - age
    fields = {"receipt": os.urandom(16), "variant": 0, "confidence": 0.0, "client": "me"} | fields
    return Label(model=model, version=version, predicted_at=made, observed_at=made + delay, **fields)


def classified(classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, truths and confidences of a classifier that is too sure of itself."""
    predicted = rng.integers(classes, size=N)
    confidence = rng.uniform(1 / classes, 1, N)
    right = rng.random(N) < confidence * 0.9
    truth = np.where(right, predicted, (predicted + rng.integers(1, classes, N)) % classes)
    return predicted, truth, confidence


def book(store: Store, predicted: np.ndarray, truth: np.ndarray, confidence: np.ndarray) -> None:
    """Books a label for each."""
    rows = zip(predicted.tolist(), truth.tolist(), confidence.tolist(), strict=True)
    store.book([label(predicted_class=p, label_class=t, confidence=c) for p, t, c in rows])


def test_classification(store: Store) -> None:
    """Accuracy, F1, precision, recall and the confusion matrix are scikit-learn's; calibration is as by definition."""
    predicted, truth, confidence = classified(3, np.random.default_rng(1))
    book(store, predicted, truth, confidence)
    quality = qualities(store)[1, Window.HOUR]
    figures = quality.figures
    assert isinstance(figures, ClassificationQuality)
    assert (quality.predictions, quality.labelled, quality.coverage.value) == (N, N, 1.0)
    assert quality.delay == pytest.approx(30)
    assert figures.accuracy.value == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert figures.macro_f1.value == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    expected = metrics.precision_recall_fscore_support(truth, predicted)
    for each, precision, recall, f1, support in zip(figures.classes, *expected, strict=True):
        assert each.precision
        assert each.recall
        assert each.actual == support
        assert (each.precision.value, each.recall.value, each.f1.value) == pytest.approx((precision, recall, f1))
    matrix = metrics.confusion_matrix(truth, predicted)
    assert figures.confusion == {place: matrix[place] for place in np.ndindex(3, 3) if matrix[place]}
    right = truth == predicted
    assert figures.brier.value == pytest.approx(metrics.brier_score_loss(right, confidence))
    # The calibration error by its definition, from the data themselves.
    bins = np.digitize(confidence, np.linspace(0, 1, 16), right=True)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert figures.calibration_error.value == pytest.approx(sum(gaps))
    for figure in (figures.accuracy, figures.macro_f1, figures.brier, figures.log_loss, figures.calibration_error):
        assert figure.low is not None and figure.high is not None  # noqa: PT018  # one or the other missing is the same fault
        assert figure.low < figure.value < figure.high or figure is figures.calibration_error
        assert figure.high - figure.low < 0.15


def test_log_loss_of_two_classes(store: Store) -> None:
    """With two classes the log loss is exact, and so scikit-learn's."""
    predicted, truth, confidence = classified(2, np.random.default_rng(2))
    book(store, predicted, truth, confidence)
    figures = qualities(store)[1, Window.ALL].figures
    assert isinstance(figures, ClassificationQuality)
    of_class_one = np.where(predicted == 1, confidence, 1 - confidence)
    assert figures.log_loss.value == pytest.approx(metrics.log_loss(truth, of_class_one))


def test_log_loss_of_several_classes(store: Store) -> None:
    """With several classes it is no more than the true one, whatever the classes that were not told had."""
    rng = np.random.default_rng(3)
    scores = rng.dirichlet((0.7, 0.7, 0.7), N)
    truth = np.array([rng.choice(3, p=row) for row in scores])
    book(store, scores.argmax(axis=1), truth, scores.max(axis=1))
    figures = qualities(store)[1, Window.ALL].figures
    assert isinstance(figures, ClassificationQuality)
    true = metrics.log_loss(truth, scores)
    assert 0.6 * true < figures.log_loss.value < true


def test_regression(store: Store) -> None:
    """RMSE and MAE are scikit-learn's, the bias is the mean error; their intervals hold them."""
    rng = np.random.default_rng(4)
    truth = rng.normal(100, 20, N)
    predicted = truth + rng.normal(1, 5, N)
    rows = zip(predicted.tolist(), truth.tolist(), strict=True)
    store.book([label("price", predicted_value=p, label_value=t) for p, t in rows])
    quality = qualities(store, "price")[1, Window.DAY]
    figures = quality.figures
    assert isinstance(figures, RegressionQuality)
    assert figures.rmse.value == pytest.approx(metrics.root_mean_squared_error(truth, predicted))
    assert figures.mae.value == pytest.approx(metrics.mean_absolute_error(truth, predicted))
    assert figures.bias.value == pytest.approx((predicted - truth).mean())
    for figure in (figures.rmse, figures.mae, figures.bias):
        assert figure.low is not None and figure.high is not None  # noqa: PT018  # one or the other missing is the same fault
        assert figure.low < figure.value < figure.high < figure.low + 1
    assert quality.estimate is None


def test_a_slip_leaves_no_trace(store: Store) -> None:
    """A label that was wrong by far, once corrected, leaves figures as if it had never been."""
    booked = [label("price", predicted_value=float(value), label_value=value + 0.5) for value in range(10)]
    store.book(booked)
    before = qualities(store, "price")[1, Window.ALL].figures
    slip = label("price", receipt=booked[3].receipt, predicted_value=3.0, label_value=1e60)
    store.book([slip])
    assert qualities(store, "price")[1, Window.ALL].figures != before
    store.book([booked[3]])
    assert qualities(store, "price")[1, Window.ALL].figures == before


def test_windows(store: Store) -> None:
    """A prediction counts in the windows that it was made in, whenever its label came; versions are kept apart."""
    ages = (60.0, 5 * HOUR, 3 * DAY, 30 * DAY)
    store.book([label(age=age, delay=age - 1, predicted_class=0, label_class=0, confidence=0.9) for age in ages])
    store.book([label(version=2, age=5 * HOUR, predicted_class=0, label_class=1, confidence=0.9)])
    found = qualities(store)
    numbers = {window: found[1, window].labelled for window in Window}
    assert numbers == {Window.HOUR: 1, Window.DAY: 2, Window.WEEK: 3, Window.ALL: 4}
    assert (2, Window.HOUR) not in found
    figures = found[2, Window.DAY].figures
    assert isinstance(figures, ClassificationQuality)
    assert figures.accuracy.value == 0
    assert found[1, Window.ALL].begin == 0
    assert 0 <= time.time() - HOUR - found[1, Window.HOUR].begin < 600


def test_variants(store: Store) -> None:
    """What a version answered as a candidate is told apart from what it answered as the stable one."""
    store.book([label(predicted_class=0, label_class=0, variant=variant) for variant in (0, 1, 1)])
    found = store.read(partial(report.read, model="digits"))
    assert {(each.variant, each.labelled) for each in found} == {(Variant.STABLE, 1), (Variant.CANDIDATE, 2)}


def counted(store: Store, confidence: np.ndarray) -> None:
    """Counts predictions of these confidences."""
    sums: Sums = {}
    for each in confidence.tolist():
        plus(sums, ("digits", 1, 0, bucket(time.time() - 60), confidence_bin(each)), 1, each)
    store.count(sums)


def test_coverage(store: Store) -> None:
    """The coverage is the share of all predictions that have a label, and never above 1."""
    counted(store, np.full(4, 0.9))
    assert (qualities(store)[1, Window.HOUR].coverage.value, qualities(store)[1, Window.HOUR].figures) == (0, None)
    labels = [label(predicted_class=0, label_class=0, confidence=0.9) for _ in range(5)]
    store.book(labels[:1])
    assert qualities(store)[1, Window.HOUR].coverage.value == 0.25
    store.book(labels)
    quality = qualities(store)[1, Window.HOUR]
    assert (quality.predictions, quality.labelled, quality.coverage.value) == (5, 5, 1.0)


def test_estimated_accuracy(store: Store) -> None:
    """Of predictions without labels the accuracy is estimated well, though the model is too sure of itself."""
    rng = np.random.default_rng(5)
    _, _, confidence = classified(3, rng)
    unlabelled = np.sort(rng.uniform(0.34, 1, 300))[:150]
    counted(store, unlabelled)
    expected = qualities(store)[1, Window.HOUR].estimate
    assert expected
    # Nobody knows better yet.
    assert (expected.accuracy.value, expected.predictions, expected.labels) == (
        pytest.approx(unlabelled.mean()),
        150,
        0,
    )
    predicted, truth, confidence = classified(3, rng)
    counted(store, confidence)
    book(store, predicted, truth, confidence)
    found = qualities(store)[1, Window.HOUR].estimate
    assert found
    assert (found.predictions, found.labels) == (150, N)
    true = (unlabelled * 0.9).mean()
    assert found.accuracy.value == pytest.approx(true, abs=0.03)
    assert found.accuracy.low is not None
    assert found.accuracy.high is not None
    assert found.accuracy.low < true < found.accuracy.high < found.accuracy.low + 0.25


def test_outcomes(store: Store) -> None:
    """Wrong answers are counted by version and variant from the very moment; values by how far they may be off."""
    now = time.time()
    for age, truth, variant in ((100, 0, 0), (40, 0, 0), (39, 1, 0), (38, 2, 1)):
        store.book([label(age=age, predicted_class=0, label_class=truth, variant=variant)])
    store.book([label("price", predicted_value=10.0, label_value=value) for value in (10.5, 11.5, 8.0, 1e70)])

    def counted(model: str, variant: Variant, tolerance: float) -> tuple[int, int]:
        count = partial(outcomes.count, model=model, version=1, variant=variant, since=now - 60.5, tolerance=tolerance)
        return store.read(count)

    assert counted("digits", Variant.STABLE, 0) == (1, 2)
    assert counted("digits", Variant.CANDIDATE, 0) == (1, 1)
    assert counted("digits", Variant.SHADOW, 0) == (0, 0)
    assert counted("price", Variant.STABLE, 1.0) == (3, 4)
    assert counted("price", Variant.STABLE, float("inf")) == (0, 4)
