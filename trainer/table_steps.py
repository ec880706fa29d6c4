"""A table's preprocessing steps with what they need to know of the training rows: types, means, categories."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.preprocessing import Row, Step, StepError, bind, own_steps
from serving.preprocessing.pipeline import ASSEMBLE, SELECT, check_order, parameters
from serving.preprocessing.table import Column, Columns, missing
from serving.validation import problems
from trainer.errors import TrainingError

MAX_CATEGORIES = 1000
_NUMBERS = "f"  # numpy's kind of a column of numbers


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Select(_Part):
    """The data's columns, of the types that they have there."""

    extra: Literal["error", "ignore"] = "error"
    max_length: int = Field(1000, ge=1)


class Impute(_Part):
    """Of every column that has gaps; truth values and strings get the most frequent one."""

    numbers: Literal["mean", "median", "most_frequent"] = "median"
    indicators: bool = False


class Scale(_Part):
    """By mean and standard deviation, or from least to greatest; by default all columns of numbers."""

    method: Literal["standard", "minmax"] = "standard"
    columns: tuple[str, ...] = ()


class OneHot(_Part):
    """By default all columns of strings; categories seen less than `min_count` times are left to `unknown`."""

    columns: tuple[str, ...] = ()
    unknown: Literal["error", "ignore", "other"] = "error"
    min_count: int = Field(1, ge=1)


class Assemble(_Part):
    """All columns."""


def is_of_table(steps: Sequence[Step]) -> bool:
    """Whether steps are those of a table."""
    return bool(steps) and steps[0].name == SELECT


def check(steps: Sequence[Step]) -> None:
    """StepError unless `fitted` can take the steps, as far as can be said without data."""
    check_order([step.name for step in steps])
    for place, step in enumerate(steps):
        try:
            if _is_complete(step):
                bind(step, own_steps([step]))
            else:
                _FITTERS[step.name][0].model_validate(dict(step.parameters))
        except ValidationError as error:
            raise StepError(f"step {place} ({step.name}): {problems(error)}") from error
        except StepError as error:
            raise StepError(f"step {place} ({step.name}): {error}") from error


def fitted(steps: Sequence[Step], schema: Sequence[Column], rows: Sequence[Row]) -> tuple[Step, ...]:
    """The steps with all their parameters; what is not given is found in the training `rows`, of the columns `schema`.

    Without steps, gaps are filled, and strings encoded with unknown ones as none. TrainingError says what cannot be.
    """
    made: list[Step] = []
    value: Any = rows
    for given in steps or _automatic(schema):
        if made and made[-1].name == ASSEMBLE:
            # From here on each row is on its own, and nothing is fitted.
            made.append(given)
            continue
        try:
            step = given if _is_complete(given) else _fit(given, schema, value)
            call = bind(step, own_steps([step]))
            if step.name == SELECT:
                names = {column.name for column in parameters(step)["columns"]}
                value = [{name: row[name] for name in row if name in names} for row in rows]
            value = call(value)
        except ValidationError as error:
            raise TrainingError(f"preprocessing: {given.name}: {problems(error)}") from error
        except Exception as error:
            # A step of one's own may raise anything, and have the next one do so.
            raise TrainingError(f"preprocessing: {given.name}: {' '.join(str(error).split())}") from error
        made.append(step)
    return tuple(made)


def features(steps: Sequence[Step]) -> tuple[str, ...]:
    """The columns that complete steps assemble, in the order of the tensor."""
    return next(parameters(step)["columns"] for step in steps if step.name == ASSEMBLE)


def _automatic(schema: Sequence[Column]) -> list[Step]:
    steps = [Step(name=SELECT)]
    if any(column.nullable for column in schema):
        steps.append(Step(name="impute"))
    if any(column.type == "string" for column in schema):
        steps.append(Step(name="one_hot", parameters={"unknown": "ignore"}))
    return [*steps, Step(name=ASSEMBLE)]


def _is_complete(step: Step) -> bool:
    if step.name not in _FITTERS:
        return True
    try:
        parameters(step)
    except ValidationError:
        return False
    return True


def _fit(step: Step, schema: Sequence[Column], value: Any) -> Step:
    model, fit = _FITTERS[step.name]
    return Step(name=step.name, parameters=fit(model.model_validate(dict(step.parameters)), schema, value))


def _fit_select(settings: Select, schema: Sequence[Column], rows: Sequence[Row]) -> dict[str, Any]:
    del rows
    return {"columns": [column.model_dump() for column in schema], **settings.model_dump(exclude_defaults=True)}


def _fit_impute(settings: Impute, schema: Sequence[Column], table: Columns) -> dict[str, Any]:
    nullable = {column.name: column.type for column in schema if column.nullable and column.name in table}
    values = {
        name: _fill(name, table[name], settings.numbers if kind == "number" else "most_frequent")
        for name, kind in nullable.items()
    }
    return {"values": values, **({"indicators": list(nullable)} if settings.indicators else {})}


def _fill(name: str, array: NDArray[Any], method: Literal["mean", "median", "most_frequent"]) -> float | str:
    there = _there(array)
    if not len(there):
        raise ValueError(f"the column {name!r} has no value in any training row")
    if method == "most_frequent":
        # The first in order of those that are as frequent.
        return max(sorted(Counter(there.tolist()).items()), key=lambda found: found[1])[0]  # type: ignore[no-any-return]
    return float(np.mean(there) if method == "mean" else np.median(there))


def _fit_scale(settings: Scale, schema: Sequence[Column], table: Columns) -> dict[str, Any]:
    numbers = [column.name for column in schema if column.type == "number" and column.name in table]
    return {"columns": {name: _scaling(_column(table, name), settings) for name in settings.columns or numbers}}


def _scaling(array: NDArray[Any], settings: Scale) -> dict[str, float]:
    there = _there(array)
    if settings.method == "standard":
        center, scale = float(there.mean()), float(there.std())
    else:
        center, scale = float(there.min()), float(np.ptp(there))
    # A column that never varied in training says nothing; divided by next to nothing it would drown the others.
    return {"center": center, "scale": scale or 1.0}


def _fit_one_hot(settings: OneHot, schema: Sequence[Column], table: Columns) -> dict[str, Any]:
    del schema
    names = settings.columns or [name for name, array in table.items() if array.dtype.kind != _NUMBERS]
    columns = {}
    for name in names:
        counts = Counter(_there(_column(table, name)).tolist())
        columns[name] = sorted(value for value, count in counts.items() if count >= settings.min_count)
        if not 1 <= len(columns[name]) <= MAX_CATEGORIES:
            raise ValueError(f"the column {name!r} has {len(columns[name])} categories; expected 1 to {MAX_CATEGORIES}")
    return {"columns": columns, "unknown": settings.unknown}


def _fit_assemble(settings: Assemble, schema: Sequence[Column], table: Columns) -> dict[str, Any]:
    del settings, schema
    for name, array in table.items():
        if array.dtype.kind != _NUMBERS:
            raise ValueError(f"the column {name!r} holds strings; encode it by `one_hot` or `ordinal` first")
    return {"columns": list(table)}


def _column(table: Columns, name: str) -> NDArray[Any]:
    if name not in table:
        raise ValueError(f"there is no column {name!r}; there are {', '.join(table)}")
    return table[name]


def _there(array: NDArray[Any]) -> NDArray[Any]:
    """The values of a column that are not missing."""
    there: NDArray[Any] = array[~missing(array)]
    return there


# What a recipe may say of each instead of the parameters themselves, and how those are found.
_FITTERS: Mapping[str, tuple[type[_Part], Callable[..., dict[str, Any]]]] = {
    SELECT: (Select, _fit_select),
    "impute": (Impute, _fit_impute),
    "scale": (Scale, _fit_scale),
    "one_hot": (OneHot, _fit_one_hot),
    ASSEMBLE: (Assemble, _fit_assemble),
}
