import dataclasses

import numpy as np
import pytest

from trainer import data
from trainer.data import mnist
from trainer.errors import TrainingError


@pytest.fixture
def load(recipe, bars, monkeypatch):
    """Loads the bars under the labels given."""
    monkeypatch.setattr(mnist, "packaged", lambda: bars)
    return lambda *labels: data.load(recipe(labels=labels, data={"source": "mnist5k"}))


def test_classes_are_named_by_the_data(load, bars):
    """A recipe without labels takes the data's."""
    assert load() is bars


def test_the_same_labels_in_another_order_number_the_classes_anew(load, bars):
    """Each example keeps its class's name."""
    dataset = load("right", "left", "middle")
    assert dataset.labels == ("right", "left", "middle")
    assert [dataset.labels[n] for n in dataset.targets] == [bars.labels[n] for n in bars.targets]


def test_other_labels_rename_the_classes(load, bars):
    """One by one, in the data's order."""
    dataset = load("l", "m", "r")
    assert dataset.labels == ("l", "m", "r")
    assert dataset.targets is bars.targets


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("left", "right"), r"names 2 labels, the data have the classes \['left', 'middle', 'right'\]"),
        (("left", "midle", "right"), r"no classes \['midle'\] that the recipe names"),
    ],
)
def test_labels_that_do_not_fit_are_refused(load, labels, message):
    """One too few or one misspelt is found before training."""
    with pytest.raises(TrainingError, match=message):
        load(*labels)


@pytest.mark.parametrize("source", ["images", "table", "diabetes"])
def test_each_source_is_reached_by_its_name(source, recipe, tmp_path):
    """The recipe's source decides who loads."""
    settings = {
        "images": {"path": tmp_path / "x"},
        "table": {"path": tmp_path / "x.csv", "target": "y"},
        "diabetes": {},
    }[source]
    task = {"task": "regression"} if source == "diabetes" else {}
    steps = {} if source == "images" else {"preprocessing": ()}
    wanted = recipe(data={"source": source, **settings}, **task, **steps)
    if source == "diabetes":
        assert data.load(wanted).source.startswith("diabetes")
    else:
        with pytest.raises(TrainingError, match="No such file"):
            data.load(wanted)


@pytest.mark.parametrize("number", [-1, 3])
def test_a_class_out_of_range_is_told(load, bars, monkeypatch, number):
    """An example of a class that there is not is named before anything is trained."""
    targets = np.where(np.arange(60) == 4, number, bars.targets)
    monkeypatch.setattr(mnist, "packaged", lambda: dataclasses.replace(bars, targets=targets))
    with pytest.raises(TrainingError, match=f"bars: example 5 is of the class number {number}, expected 0 to 2"):
        load()
