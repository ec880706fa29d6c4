"""What predictions teach those who watch a model: how its inputs and answers are distributed, version by version."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.answers import Answer
from gateway.backend import Tensors
from gateway.catalog import Servable


class Variant(enum.IntEnum):
    """What a version was to a roll-out when it answered; the number stands in the prediction's receipt."""

    STABLE = 0
    CANDIDATE = 1
    SHADOW = 2


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
