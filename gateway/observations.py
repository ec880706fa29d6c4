"""What predictions teach those who watch a model: how its inputs and answers are distributed, version by version."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.answers import Answer
from gateway.backend import Tensors
from gateway.catalog import Servable
from gateway.split import Variant

__all__ = ["Observation", "Observer", "Variant"]


@dataclass(frozen=True, slots=True)
class Observation:
    """Rows that a version answered by its contract."""

    servable: Servable
    """Its contract is never None."""
    variant: Variant
    inputs: Tensors
    """Preprocessed, each with the batch dimension."""
    answers: Sequence[Answer]
    """One a row."""


Observer = Callable[[Observation], None]
"""Called on the event loop after each answer: it must take microseconds, and never raise."""
