"""Steps for a table's rows, many at once: named values in, named columns in between, a row of numbers for each out."""

import json
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serving.preprocessing.errors import InputError, StepError

Value = float | str | bool | None
"""What stands in one column of a row; None where nothing does."""
Row = Mapping[str, Value]
"""One row by the columns' names."""
Columns = Mapping[str, NDArray[Any]]
"""n rows by the columns' names, (n,) each: numbers and booleans as float64 with NaN for none, strings as object of str
with None for none."""

OTHER = "<other>"
_SHOWN = 50  # characters of a value in a message
# By their exact types: to `isinstance` a bool is an int.
_TYPES: Mapping[str, tuple[type, ...]] = {"number": (float, int), "string": (str,), "boolean": (bool,)}
_EXPECTED = {"number": "a number", "string": "a string", "boolean": "true or false"}


class Column(BaseModel):
    """One column of the rows that callers send."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    type: Literal["number", "string", "boolean"]
    nullable: bool = False
    """Whether a row may have no value here: null, or no such column."""


class Scaling(BaseModel):
    """(value - `center`) / `scale`: of a column by its mean and deviation, by its least value and range, …"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: Annotated[float, Field(allow_inf_nan=False)]
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _differ(names: tuple[Any, ...]) -> tuple[Any, ...]:
    keys = [name.name if isinstance(name, Column) else name for name in names]
    if len(set(keys)) != len(keys):
        raise ValueError("a name comes twice")
    return names


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_differ)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Categories = Annotated[
    tuple[str, ...] | tuple[Number, ...], Field(min_length=1, max_length=10_000), AfterValidator(_differ)
]


def decode_row(encoded: bytes) -> Row:
    """The row in a JSON object; InputError ROW_UNREADABLE if it is none."""
    try:
        row = json.loads(encoded)
    except (ValueError, RecursionError):
        raise InputError("ROW_UNREADABLE", "the row is not JSON; expected one object") from None
    if not isinstance(row, dict):
        raise InputError("ROW_UNREADABLE", "the row is JSON of another kind; expected one object")
    return row


def select(
    rows: Sequence[Row],
    *,
    columns: Annotated[tuple[Column, ...], Field(min_length=1), AfterValidator(_differ)],
    extra: Literal["error", "ignore"] = "error",
    max_length: Annotated[int, Field(ge=1)] = 1000,
) -> Columns:
    """Takes `columns` out of rows, each value of its column's type, a string of `max_length` characters at most.

    Numbers are finite. A further column is refused, or with `extra` ignored.
    """
    if extra == "error":
        known = {column.name for column in columns}
        for row in rows:
            if not row.keys() <= known:
                name = next(name for name in row if name not in known)
                raise InputError(
                    "COLUMN_UNKNOWN",
                    f"there is no column {name[:_SHOWN]!r}; expected {', '.join(column.name for column in columns)}",
                )
    return {column.name: _selected([row.get(column.name) for row in rows], column, max_length) for column in columns}


def _selected(values: list[Value], column: Column, max_length: int) -> NDArray[Any]:
    types = (*_TYPES[column.type], NoneType) if column.nullable else _TYPES[column.type]
    if not set(map(type, values)).issubset(types):
        wrong = next(value for value in values if type(value) not in types)
        if wrong is None:
            raise _error("MISSING", column.name, f"it has no value; expected {_EXPECTED[column.type]}")
        raise _error("TYPE_MISMATCH", column.name, f"expected {_EXPECTED[column.type]}, got {_shown(wrong)}")
    if column.type == "string":
        longest = max((len(value) for value in values if isinstance(value, str)), default=0)
        if longest > max_length:
            raise _error("TOO_LONG", column.name, f"expected {max_length} characters at most, got {longest}")
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        raise _error("NOT_FINITE", column.name, "expected a number of 64 bits, got a larger one") from None
    # None is NaN by now, which nobody may send.
    if np.isfinite(numbers).sum() + values.count(None) < len(values):
        wrong = next(value for value in values if value is not None and not np.isfinite(value))
        raise _error("NOT_FINITE", column.name, f"expected a finite number, got {_shown(wrong)}")
    return numbers


def impute(table: Columns, *, values: Mapping[str, Number | str], indicators: tuple[str, ...] = ()) -> Columns:
    """Puts `values` where columns have none; `indicators` names those that get a column `<name>_missing` of 0 and 1."""
    filled = dict(table)
    for name in indicators:
        _add(filled, f"{name}_missing", missing(_column(table, name)))
    for name, value in values.items():
        array = _column(table, name, "O" if isinstance(value, str) else "f")
        gaps = missing(array)
        if gaps.any():
            filled[name] = np.where(gaps, value, array)
    return filled


def scale(table: Columns, *, columns: Annotated[Mapping[str, Scaling], Field(min_length=1)]) -> Columns:
    """Scales columns of numbers: (value - center) / scale of each."""
    return {
        **table,
        **{name: (_column(table, name, "f") - by.center) / by.scale for name, by in columns.items()},
    }


def one_hot(
    table: Columns,
    *,
    columns: Annotated[Mapping[str, Categories], Field(min_length=1)],
    unknown: Literal["error", "ignore", "other"] = "error",
) -> Columns:
    """Puts a column `<name>=<category>` of 0 and 1 for each category in a column's place.

    What is no category, or no value, is refused; or it is 0 in all of them ("ignore"), or 1 in one more,
    `<name>=<other>` ("other").
    """
    for name in columns:
        _column(table, name)
    encoded: dict[str, NDArray[Any]] = {}
    for name, array in table.items():
        if name not in columns:
            _add(encoded, name, array)
            continue
        places = _places(name, array, columns[name], refuse=unknown == "error")
        categories: Sequence[str | float] = columns[name]
        for place, category in enumerate(categories):
            _add(encoded, feature(name, category), places == place)
        if unknown == "other":
            _add(encoded, feature(name, OTHER), places < 0)
    return encoded


def ordinal(
    table: Columns,
    *,
    columns: Annotated[Mapping[str, Categories], Field(min_length=1)],
    unknown: Literal["error", "encode"] = "error",
) -> Columns:
    """Puts a category's place in its list, from 0, in its stead; what is no category is refused, or -1 ("encode")."""
    encoded = dict(table)
    for name, categories in columns.items():
        places = _places(name, _column(table, name), categories, refuse=unknown == "error")
        encoded[name] = places.astype(np.float64)
    return encoded


def assemble(table: Columns, *, columns: Names) -> NDArray[np.float32]:
    """The columns side by side, in that order: float32 (n, columns)."""
    arrays = [_column(table, name, "f") for name in columns]
    with np.errstate(over="ignore"):
        tensor = np.stack(arrays, axis=1).astype(np.float32)
    finite = np.isfinite(tensor)
    if not finite.all():
        row, place = np.argwhere(~finite)[0].tolist()
        if np.isnan(tensor[row, place]):
            raise _error("MISSING", columns[place], "it has no value; expected a number")
        raise _error("NOT_FINITE", columns[place], "expected a number of 32 bits, got a larger one")
    return tensor


def feature(name: str, category: str | float) -> str:
    """The name of a category's column."""
    return f"{name}={category}" if isinstance(category, str) else f"{name}={category:g}"


def _column(table: Columns, name: str, kind: Literal["f", "O", ""] = "") -> NDArray[Any]:
    array = table.get(name)
    if array is None:
        raise StepError(f"there is no column {name!r}; there are {', '.join(table)}")
    if kind and array.dtype.kind != kind:
        held, expected = ("strings", "numbers") if kind == "f" else ("numbers", "strings")
        raise StepError(f"the column {name!r} holds {held}; expected {expected}")
    return array


def _add(table: dict[str, NDArray[Any]], name: str, array: NDArray[Any]) -> None:
    if name in table:
        raise StepError(f"there are two columns {name!r}")
    table[name] = array.astype(np.float64) if array.dtype == np.bool_ else array


def missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column has no value, (n,)."""
    gaps: NDArray[np.bool_] = array == np.array(None) if array.dtype == object else np.isnan(array)
    return gaps


def _places(name: str, array: NDArray[Any], categories: Categories, *, refuse: bool) -> NDArray[np.int64]:
    """The place of each value in `categories`, (n,); -1 for another value, unless it is to be refused."""
    if isinstance(categories[0], str) != (array.dtype == object):
        raise StepError(f"the column {name!r} and its categories are of different types")
    known = {category: place for place, category in enumerate(categories)}
    places = np.fromiter((known.get(value, -1) for value in array.tolist()), np.int64, len(array))
    if refuse and (places < 0).any():
        value = array[int((places < 0).argmax())]
        if value is None or value != value:  # noqa: PLR0124 - NaN
            raise _error("MISSING", name, "it has no value; expected one of its categories")
        raise InputError(
            "CATEGORY_UNKNOWN", f"column {name!r}: expected one of {_listed(categories)}, got {_shown(value)}"
        )
    return places


def _listed(categories: Categories) -> str:
    most = 10
    shown = ", ".join(map(_shown, categories[:most]))
    return shown if len(categories) <= most else f"{shown} and {len(categories) - most} more"


def _shown(value: Any) -> str:
    """A value as JSON has it, for people."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and value.bit_length() < 64:  # noqa: PLR2004
        return str(value)
    return {int: "a large integer", list: "a list", dict: "an object"}.get(type(value), f"a {type(value).__name__}")


def _error(what: str, column: str, message: str) -> InputError:
    return InputError(f"COLUMN_{what}", f"column {column!r}: {message}")
