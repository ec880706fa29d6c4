"""Evidently's own pages: of two captures beside each other, and of predictions beside their labels.

Can be imported where the dependency group `evidently` is installed, and nowhere else.
"""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, MulticlassClassification, Regression, Report
from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset, RegressionPreset
from numpy.typing import NDArray

from gateway.drift.sketch import Kind
from gateway.replay.corpus import CorpusError
from gateway.report.features import Captures, Values
from gateway.report.labelled import Labelled

_TARGET, _PREDICTION = "target", "prediction"
_TWO = 2


def pages(labelled: Iterable[Labelled], captures: Captures | None) -> Iterator[tuple[str, str]]:
    """A file's name and its HTML, whole by itself, for each version's labels, and for the captures."""
    for each in labelled:
        yield f"quality-{quote(each.model, safe='')}-{each.version}.html", _quality(each)
    if captures:
        yield "drift.html", _drift(*captures)


def _drift(reference: Values, current: Values) -> str:
    """DataDriftPreset and DataSummaryPreset over the features that both have."""
    both = [key for key in reference if key in current and _has_numbers(reference[key]) and _has_numbers(current[key])]
    if not both:
        raise CorpusError("the files have no feature in common that Evidently takes")
    names = _columns(both)
    classes = {key for key in both if reference[key].dtype.kind in "iu"}
    definition = DataDefinition(
        categorical_columns=[names[key] for key in both if key in classes],
        numerical_columns=[names[key] for key in both if key not in classes],
    )
    datasets = []
    for values in (current, reference):
        # What some requests do not have is missing.
        columns = {
            names[key]: pd.Series(_texts(values[key]) if key in classes else _numbers(values[key])) for key in both
        }
        datasets.append(Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition))
    return _page(Report([DataDriftPreset(), DataSummaryPreset()]), *datasets)


def _quality(labelled: Labelled) -> str:
    """ClassificationPreset, or RegressionPreset where labels are values."""
    table = pd.DataFrame({_PREDICTION: labelled.predicted, _TARGET: labelled.actual})
    columns = list(table)
    if labelled.are_values:
        definition = DataDefinition(
            regression=[Regression(target=_TARGET, prediction=_PREDICTION)], numerical_columns=columns
        )
        return _page(Report([RegressionPreset()]), Dataset.from_pandas(table, data_definition=definition))
    task: Any = MulticlassClassification(target=_TARGET, prediction_labels=_PREDICTION)
    if len(labelled.classes) == _TWO:
        # It takes no other task of two classes, whatever they are called.
        task = BinaryClassification(
            target=_TARGET, prediction_labels=_PREDICTION, pos_label=_plain(labelled.classes[-1])
        )
    definition = DataDefinition(classification=[task], categorical_columns=columns)
    return _page(Report([ClassificationPreset()]), Dataset.from_pandas(table.map(_plain), data_definition=definition))


def _page(report: Any, *datasets: Any) -> str:
    with warnings.catch_warnings():
        # Of figures that few rows do not have: the page shows them as missing.
        warnings.simplefilter("ignore")
        html: str = report.run(*datasets).get_html_str(as_iframe=False)
    return html


def _columns(keys: list[tuple[Kind, str]]) -> dict[tuple[Kind, str], str]:
    """A column's name for each; with its kind where an input is called like what comes of it."""
    names = [name for _, name in keys]
    return {(kind, name): _plain(name if names.count(name) == 1 else f"{name} ({kind.value})") for kind, name in keys}


def _plain(name: str) -> str:
    """A name that ends no script: Evidently writes them into one as they are."""
    return name.replace("<", "‹")


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = values.astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _texts(values: NDArray[Any]) -> list[str]:
    return [str(value) for value in values.tolist()]


def _has_numbers(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).any())
