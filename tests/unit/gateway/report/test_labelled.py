"""gateway.report.labelled"""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.feedback.database import connect
from gateway.feedback.labels import Label
from gateway.feedback.store import Store, Task
from gateway.quality.report import Window
from gateway.report import labelled, quality
from gateway.report.database import labels
from gateway.report.labelled import Labelled
from tests.fakes.report_sources import labels_of_three


def read(url: str, window: Window = Window.ALL) -> list[Labelled]:
    """What there is of all models."""
    with labels(url) as connection:
        return list(labelled.read(connection, quality.read(connection), window))


def test_labels_of_each_version(tmp_path: Path) -> None:
    """Classes by name, in the model's order, or values."""
    first, second, price = read(labels_of_three(tmp_path / "labels.db"))
    assert (first.model, first.version, first.classes, first.are_values) == ("pets", 1, ["cat", "<dog>"], False)
    pairs = list(zip(first.predicted, first.actual, strict=True))
    assert (len(pairs), pairs.count(("cat", "<dog>")), pairs.count(("<dog>", "cat"))) == (100, 10, 0)
    assert (second.version, len(second.actual)) == (2, 5)
    assert (price.are_values, sorted(zip(price.predicted, price.actual, strict=True))) == (True, [(1.5, 1), (2.5, 2)])


def test_newest_in_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the newest are read, oldest first, of the window and of the version's present task."""
    monkeypatch.setattr(labelled, "MOST", 3)
    url = f"sqlite:///{tmp_path / 'labels.db'}"
    store = Store(connect(url))
    now = time.time()
    label = Label(b"", "m", 1, 0, 0.0, now, now, "me", predicted_value=0.0, label_value=0.0)
    made = [
        replace(label, receipt=os.urandom(16), predicted_at=now - 600 * age, label_value=float(age))
        for age in range(20)
    ]
    made[1] = replace(made[1], predicted_value=None, label_value=None, predicted_class=0, label_class=0)
    store.describe({("m", 1): Task("regression")})
    store.book(made)
    store.close()
    assert [each.actual for each in read(url)] == [(2.0, 0.0)]
    monkeypatch.setattr(labelled, "MOST", 100)
    (hour,) = read(url, Window.HOUR)
    assert hour.actual[-4:] == (4.0, 3.0, 2.0, 0.0)
    assert len(hour.actual) < 8
