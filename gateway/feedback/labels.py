"""What is booked: a label with the prediction that it is for, and what tallies are made of it."""

import enum
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

BUCKET_SECONDS = 300
"""Tallies are kept for spans of this length, by the time of the prediction."""
DAY_SECONDS = 86400
"""Those of a day that nothing looks into any more become one."""
CONFIDENCE_BINS = 15
"""Bins of equal width from 0 to 1, as calibration is measured in (Guo et al. 2017)."""
MAX_VALUE = 1e75
"""A regression's values are no larger, so that sums of their errors' fourth powers stay finite."""
# The least probability that float32 tells from 0: a model that was sure and wrong is not infinitely wrong.
_LEAST = 2.0**-24


class Outcome(enum.Enum):
    """What booking a label did."""

    BOOKED = "booked"
    CHANGED = "changed"
    """The prediction had another label, which this one replaced."""
    UNCHANGED = "unchanged"
    """The prediction had this label already."""


class Slot(NamedTuple):
    """Whose tally, and of which span of time."""

    model: str
    version: int
    variant: int
    bucket: int
    """The span's begin: seconds since 1970, a multiple of BUCKET_SECONDS."""


Sums = dict[tuple[Any, ...], list[float]]
"""Sums by a tally's primary key, in the order of its columns."""


@dataclass(frozen=True, slots=True)
class Label:
    """A true label, with what its prediction's receipt says; times in seconds since 1970."""

    receipt: bytes
    model: str
    version: int
    variant: int
    confidence: float
    predicted_at: float
    observed_at: float
    """When the truth was known."""
    client: str
    predicted_class: int | None = None
    predicted_value: float | None = None
    label_class: int | None = None
    label_value: float | None = None

    @property
    def slot(self) -> Slot:
        """The tally that it belongs to."""
        return Slot(self.model, self.version, self.variant, bucket(self.predicted_at))

    @property
    def truth(self) -> tuple[int | None, float | None]:
        """The label itself, class or value."""
        return self.label_class, self.label_value


def bucket(time: float, seconds: int = BUCKET_SECONDS) -> int:
    """The begin of the span of so many seconds that `time` is in; days are UTC's."""
    return int(time // seconds) * seconds


def confidence_bin(confidence: float) -> int:
    """The bin of a confidence, 0 to CONFIDENCE_BINS - 1; each has its upper edge, as in the literature."""
    return min(max(math.ceil(confidence * CONFIDENCE_BINS) - 1, 0), CONFIDENCE_BINS - 1)


def log_loss(confidence: float, *, right: bool) -> float:
    """Minus the log of the probability that the model gave the true class, as far as the receipt says.

    Of a wrong answer's true class it says no more than that it had neither more than the answer nor more than was left:
    the loss is that much at least, and with two classes exactly.
    """
    return -math.log(max(confidence if right else min(confidence, 1 - confidence), _LEAST))


def brier(confidence: float, *, right: bool) -> float:
    """The squared difference of the confidence and whether the answer is right."""
    return (confidence - right) ** 2


def plus(sums: Sums, key: tuple[Any, ...], *terms: float, sign: int = 1) -> None:
    """Adds the terms, times `sign`, to what `key` has."""
    total = sums.setdefault(key, [0] * len(terms))
    for place, term in enumerate(terms):
        total[place] += sign * term
