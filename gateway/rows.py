"""Rows that one request brings, before and after they are put together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.backend import Array, Signature
from gateway.errors import GatewayError, NotFinite
from gateway.finite import check_finite
from gateway.instances import Row, TensorStack, to_row

Rows = list[Row | GatewayError]
"""For each instance its row, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RowStack:
    """Rows of one shape as the model's inputs, with the batch dimension."""

    inputs: dict[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __iter__(self) -> Iterator[Row]:
        return (Row({name: array[place] for name, array in self.inputs.items()}) for place in range(len(self)))


def of_tensors(stack: TensorStack, signature: Signature) -> Rows | RowStack:
    """The rows of tensors that are alike; what is wrong with one is wrong with all."""
    array, names = stack.array, list(signature.inputs)
    spec = signature.inputs[names[0]] if len(names) == 1 else None
    if spec is None or array.dtype is not spec.dtype or array.shape[1:] != spec.row:
        try:
            to_row(next(iter(stack)), signature)
        except GatewayError as error:
            return [error] * len(stack)
    return RowStack({names[0]: array})


def by_shape(rows: Sequence[Row | GatewayError]) -> list[list[int]]:
    """The places of rows of one shape, which travel together; where sizes are open there may be several."""
    shapes: dict[object, list[int]] = {}
    for place, row in enumerate(rows):
        if isinstance(row, GatewayError):
            continue
        key: object
        if len(row) == 1:
            key = next(iter(row.values())).shape
        else:
            key = frozenset([(name, array.shape) for name, array in row.items()])
        shapes.setdefault(key, []).append(place)
    return list(shapes.values())


def fault(row: Row) -> NotFinite | None:
    """What is wrong with a row's numbers."""
    try:
        check_finite(row)
    except NotFinite as error:
        return error
    return None


def stacked(rows: Sequence[Row] | RowStack) -> dict[str, Array]:
    """Rows of one shape as the model's inputs, with the batch dimension."""
    if isinstance(rows, RowStack):
        return rows.inputs
    if len(rows) == 1:
        (row,) = rows
        if len(row) == 1:
            ((name, array),) = row.items()
            return {name: array[np.newaxis]}
        return {name: array[np.newaxis] for name, array in row.items()}
    return {name: _joined([row[name] for row in rows]) for name in rows[0]}


def _joined(arrays: list[Array]) -> Array:
    shape = arrays[0].shape
    # Less than half of what np.stack takes, which looks at each array by itself.
    return np.concatenate(arrays).reshape(len(arrays), *shape) if shape else np.stack(arrays)
