"""What predictions teach those who watch a model: how its inputs and answers are distributed, version by version."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import NamedTuple

from gateway.answers import Answer
from gateway.backend import Tensors
from gateway.batch import Part
from gateway.catalog import Servable
from gateway.split import Variant
from serving.reference import Source

__all__ = ["Observation", "Observer", "Variant"]


class Observation(NamedTuple):
    """Rows that a version answered by its contract."""

    servable: Servable
    """Its contract is never None."""
    variant: Variant
    inputs: Tensors
    """Preprocessed, each with the batch dimension."""
    answers: Sequence[Answer]
    """One a row."""
    outputs: Tensors = MappingProxyType({})
    """As the model gave them, each with the batch dimension."""
    sources: Sequence[Source | None] = ()
    """One a row: what is kept of the image that it was made of, None for a tensor. Empty if all are tensors."""

    @property
    def nbytes(self) -> int:
        """Size of all inputs and outputs."""
        size = 0
        for tensors in (self.inputs, self.outputs):
            size += tensors.nbytes if isinstance(tensors, Part) else sum([array.nbytes for array in tensors.values()])
        return size


Observer = Callable[[Observation], None]
"""Called on the event loop after each answer: it must take microseconds, and never raise."""
