"""A table: a column to predict, and columns of numbers, truth values and strings to predict it from."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.preprocessing.table import Column
from trainer.data.dataset import Dataset
from trainer.errors import TrainingError
from trainer.recipe import Data, Task

# Of more different strings a column is a name, a number or a text rather than a category.
MAX_STRINGS = 100
_KINDS: Mapping[frozenset[type], Literal["number", "string", "boolean"]] = {
    frozenset({bool}): "boolean",
    frozenset({str}): "string",
    frozenset({int}): "number",
    frozenset({float}): "number",
    frozenset({int, float}): "number",
}
_log = logging.getLogger("trainer")
_LARGEST = float(np.finfo(np.float32).max)
_READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


def load(settings: Data, task: Task) -> Dataset:
    """The table at `settings.path`, CSV with a header or Parquet; rows are counted from 1, without the header.

    Of the features a value may be missing, of the target not. TrainingError names the column that is missing or of no
    use, or the row.
    """
    path, target = settings.path or Path(), settings.target or ""
    frame = _read(path)
    for name in (target, *settings.features):
        if name not in frame.columns:
            raise TrainingError(f"{path} has no column {name!r}; there are {', '.join(map(str, frame.columns))}")
    others = [str(name) for name in frame.columns if name != target]
    columns = settings.features or tuple(name for name in others if _is_feature(frame[name], path))
    if target in columns or not columns:
        raise TrainingError(f"{path}: expected columns besides the target {target!r} to predict it from")
    inputs = _values(frame, columns, path)
    source = f"{path}, {len(frame):,} rows"
    if task == "regression":
        values = _numbers(frame, target, path)
        if np.ptp(values) == 0:
            raise TrainingError(f"{path}: the column {target!r} has the same value in every row")
        return Dataset(inputs, values, source, columns=columns)
    missing = frame[target].isna().to_numpy()
    if missing.any():
        raise _not_a_number(path, target, int(missing.argmax()), "has no value")
    labels, targets = np.unique(frame[target].astype(str).to_numpy(str), return_inverse=True)
    if len(labels) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise TrainingError(f"{path}: the column {target!r} has {len(labels)} classes, expected 2 or more")
    return Dataset(inputs, targets.astype(np.int64), source, tuple(labels.tolist()), columns)


def diabetes() -> Dataset:
    """scikit-learn's: 442 patients, ten measurements each, and how far the disease has gone a year later."""
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 - only where this is the source

    bunch = load_diabetes(scaled=False)
    columns = tuple(map(str, bunch.feature_names))
    source = "diabetes (scikit-learn), 442 rows"
    return Dataset(bunch.data.astype(object), bunch.target.astype(np.float32), source, columns=columns)


def schema(dataset: Dataset) -> tuple[Column, ...]:
    """The columns of a table, with their types; TrainingError if one has no values, or of several types."""
    return tuple(
        _column(name, values.tolist(), dataset.source)
        for name, values in zip(dataset.columns, dataset.inputs.T, strict=True)
    )


def _column(name: str, values: Sequence[Any], source: str) -> Column:
    kinds = set(map(type, values))
    kind = _KINDS.get(frozenset(kinds - {NoneType}))
    if kind is None:
        found = ", ".join(sorted(each.__name__ for each in kinds - {NoneType})) or "no values"
        raise TrainingError(
            f"{source}: the column {name!r} has {found}; expected numbers, truth values or strings, of one kind"
        )
    return Column(name=name, type=kind, nullable=NoneType in kinds)


def _is_feature(series: Any, path: Path) -> bool:
    """Whether a column is of use, as far as that can be told without asking."""
    kind = _KINDS.get(frozenset(map(type, series.dropna().astype(object).tolist())))
    if kind is None or (kind == "string" and series.nunique() > MAX_STRINGS):
        _log.info("%s: the column %r is left out; name it in `data.features` to have it", path, series.name)
        return False
    return True


def _read(path: Path) -> Any:
    """The data frame in a file."""
    if path.suffix not in _READERS:
        raise TrainingError(f"{path}: expected a table as .csv or .parquet")
    try:
        frame = _READERS[path.suffix](path)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if frame.empty:
        raise TrainingError(f"{path} has no rows")
    return frame


def _values(frame: Any, columns: Sequence[str], path: Path) -> NDArray[Any]:
    """The values as Python has them, object (n, columns), None for none."""
    table = frame[list(columns)].astype(object)
    values: NDArray[Any] = table.where(table.notna(), None).to_numpy(object)
    for name, column in zip(columns, values.T, strict=True):
        for row, value in enumerate(column.tolist()):
            if isinstance(value, float) and abs(value) > _LARGEST:
                raise _not_a_number(path, name, row, f"is {value:g}, expected a finite number of 32 bits")
    return values


def _numbers(frame: Any, name: str, path: Path) -> NDArray[np.float32]:
    if not pd.api.types.is_numeric_dtype(frame[name]):
        raise TrainingError(f"{path}: the column {name!r} is not numeric")
    with np.errstate(over="ignore"):
        numbers: NDArray[np.float32] = frame[name].to_numpy(np.float32, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise _not_a_number(path, name, int(wrong[0]), f"is {numbers[wrong[0]]}, expected a finite number")
    return numbers


def _not_a_number(path: Path, column: str, row: int, what: str) -> TrainingError:
    return TrainingError(f"{path}: row {row + 1}, column {column!r} {what}")
