"""A table: a column to predict, and columns of numbers to predict it from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainer.data.dataset import Dataset
from trainer.errors import TrainingError
from trainer.recipe import Data, Task

_READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


def load(settings: Data, task: Task) -> Dataset:
    """The table at `settings.path`, CSV with a header or Parquet; rows are counted from 1, without the header.

    TrainingError names the column that is missing or not numeric, or the row without a value.
    """
    path, target = settings.path or Path(), settings.target or ""
    frame = _read(path)
    numeric = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    columns = settings.features or tuple(str(name) for name in numeric if name != target)
    for name in (target, *columns):
        if name not in frame.columns:
            raise TrainingError(f"{path} has no column {name!r}; there are {', '.join(map(str, frame.columns))}")
    if target in columns or not columns:
        raise TrainingError(f"{path}: expected numeric columns besides the target {target!r} to predict it from")
    inputs = _numbers(frame, columns, path)
    source = f"{path}, {len(frame):,} rows"
    if task == "regression":
        values = _numbers(frame, [target], path)[:, 0]
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
    return Dataset(bunch.data.astype(np.float32), bunch.target.astype(np.float32), source, columns=columns)


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


def _numbers(frame: Any, columns: Sequence[str], path: Path) -> NDArray[np.float32]:
    for name in columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise TrainingError(f"{path}: the column {name!r} is not numeric")
    with np.errstate(over="ignore"):
        numbers: NDArray[np.float32] = frame[list(columns)].to_numpy(np.float32, na_value=np.nan)
    wrong = np.argwhere(~np.isfinite(numbers))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise _not_a_number(path, columns[column], row, f"is {numbers[row, column]}, expected a finite number")
    return numbers


def _not_a_number(path: Path, column: str, row: int, what: str) -> TrainingError:
    return TrainingError(f"{path}: row {row + 1}, column {column!r} {what}")
