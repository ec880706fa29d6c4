"""Rows of a table out of a file: CSV with a header, or a JSON object a line."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorgate.v1 import model_pb2

SUFFIXES = (".csv", ".jsonl")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read(file: str, columns: Sequence[model_pb2.Column]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their lines' numbers. OSError, or ValueError for what is neither.

    Cells of a CSV file are read as the model's `columns` say, an empty one as no value; other columns are left out.
    """
    with Path(file).open(encoding="utf-8-sig", newline="") as lines:
        if not file.endswith(".csv"):
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _object(line, number)
            return
        types = {column.name: column.type for column in columns}
        reader = csv.DictReader(lines)
        try:
            for cells in reader:
                values = {name: _value(text, types[name]) for name, text in cells.items() if name in types}
                yield reader.line_num, values
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from None


def _object(line: str, number: int) -> Mapping[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"line {number}: expected an object")
    return values


def _value(text: str | None, kind: int) -> float | str | bool | None:
    """A cell's value; one that is not of its column's type stays text, for the gateway to say what it expected."""
    if not text:
        return None
    if kind == model_pb2.COLUMN_TYPE_BOOLEAN:
        return _BOOLEANS.get(text.lower(), text)
    if kind == model_pb2.COLUMN_TYPE_NUMBER:
        try:
            return float(text)
        except ValueError:
            return text
    return text
