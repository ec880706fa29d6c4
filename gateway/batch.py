"""A batch's outputs, and the part of them that answers one request."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.backend import Array, Tensors


class Batch:
    """The outputs of `rows` rows. `read` and `predictions` are for who makes answers, of all at the price of a few."""

    __slots__ = ("nbytes", "outputs", "predictions", "read", "rows")

    def __init__(self, outputs: Tensors, rows: int) -> None:
        self.outputs = outputs
        self.rows = rows
        self.nbytes = sum([array.nbytes for array in outputs.values()])
        self.read: Any = None
        self.predictions: dict[int, list[Any]] = {}
        """One a row, by what the version is to a roll-out."""


class Part(Mapping[str, Array]):
    """The outputs of `rows` of a batch's rows, from row `start` on."""

    __slots__ = ("batch", "rows", "start")

    def __init__(self, batch: Batch, start: int, rows: int) -> None:
        self.batch = batch
        self.start = start
        self.rows = rows

    @property
    def nbytes(self) -> int:
        """Size of the part's share of the batch."""
        return self.batch.nbytes * self.rows // self.batch.rows

    def __getitem__(self, name: str) -> Array:
        return self.batch.outputs[name][self.start : self.start + self.rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.outputs)

    def __len__(self) -> int:
        return len(self.batch.outputs)
