"""The sources by name."""

import dataclasses
from pathlib import Path

import numpy as np

from trainer.data import folder, mnist, table
from trainer.data.dataset import Dataset
from trainer.errors import TrainingError
from trainer.recipe import Recipe


def load(recipe: Recipe) -> Dataset:
    """The data that `recipe` asks for, their classes named as it says.

    TrainingError if they cannot be had or do not fit the recipe.
    """
    settings = recipe.data
    match settings.source:
        case "images":
            dataset = folder.load(settings.path or Path())
        case "table":
            dataset = table.load(settings, recipe.task)
        case "diabetes":
            dataset = table.diabetes()
        case "fashion_mnist":
            dataset = mnist.fashion()
        case "mnist5k":
            dataset = mnist.packaged()
        case source:
            dataset = mnist.full(fall_back=source == "auto")
    _check(dataset)
    return _named(dataset, recipe.labels)


def _check(dataset: Dataset) -> None:
    """TrainingError if an example is of a class that there is not: the loss of such is no number, or an error."""
    wrong = (dataset.targets < 0) | (dataset.targets >= len(dataset.labels))
    if dataset.labels and wrong.any():
        place = int(wrong.argmax())
        raise TrainingError(
            f"{dataset.source}: example {place + 1} is of the class number {dataset.targets[place]}, "
            f"expected 0 to {len(dataset.labels) - 1}"
        )


def _named(dataset: Dataset, labels: tuple[str, ...]) -> Dataset:
    """`dataset` with its classes in the order of `labels`; or, where they are other names, renamed one by one."""
    if not labels:
        return dataset
    if len(labels) != len(dataset.labels):
        raise TrainingError(f"the recipe names {len(labels)} labels, the data have the classes {list(dataset.labels)}")
    known = set(labels) & set(dataset.labels)
    if not known:
        return dataclasses.replace(dataset, labels=labels)
    if len(known) < len(labels):
        # A misspelt name among known ones would silently rename the others.
        unknown = [label for label in labels if label not in known]
        raise TrainingError(f"the data have no classes {unknown} that the recipe names, but {list(dataset.labels)}")
    places = np.array([labels.index(label) for label in dataset.labels])
    return dataclasses.replace(dataset, labels=labels, targets=places[dataset.targets])
