"""What a run must hold: limits in a YAML file, absolute or as ratios to the bare echo measured in the same run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from loadtest.recording import Recording
from serving.validation import problems

Figure = Literal["p50", "p95", "p99", "errors", "throughput"]
_UNITS = {"errors": "", "throughput": " calls/s"}


class ThresholdsError(Exception):
    """The file of thresholds cannot be used."""


class Threshold(BaseModel):
    """One limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    figure: Figure
    """p50, p95, p99 in milliseconds; errors as a share of the calls; throughput in successful calls a second."""
    of: str = ""
    """The name of the calls that count, e.g. "Predict, PNG"; by default all."""
    unit: Literal["absolute", "echo"] = "absolute"
    """echo: the limit is a multiple of the bare echo's figure in the same run, since machines differ."""
    at_most: Annotated[float, Field(ge=0)] | None = None
    at_least: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("expected one of `at_most` and `at_least`")
        if self.unit == "echo" and self.figure == "errors":
            raise ValueError("the echo has no errors that others could be measured by")
        return self

    @property
    def limit(self) -> float:
        """The one that is given, in its own unit."""
        limit = self.at_most if self.at_most is not None else self.at_least
        assert limit is not None
        return limit


@dataclass(frozen=True)
class Outcome:
    """A threshold, and what was measured."""

    threshold: Threshold
    value: float
    limit: float
    """In the figure's own unit, whatever the threshold's."""

    @property
    def passed(self) -> bool:
        """Whether the limit is held; a figure that there is none of holds nothing."""
        if self.threshold.at_most is not None:
            return self.value <= self.limit
        return self.value >= self.limit

    def __str__(self) -> str:
        """What was measured, the limit, and by how much it was missed."""
        threshold = self.threshold
        unit = _UNITS.get(threshold.figure, " ms")
        bound = "at most" if threshold.at_most is not None else "at least"
        echo = f" ({threshold.limit:g} × the echo's)" if threshold.unit == "echo" else ""
        missed = "" if self.passed else f": missed by {abs(self.value - self.limit):.4g}{unit}"
        return (
            f"{threshold.figure} of {threshold.of or 'all calls'} is {self.value:.4g}{unit}, "
            f"expected {bound} {self.limit:.4g}{unit}{echo}{missed}"
        )


def load(path: Path) -> Sequence[Threshold]:
    """The thresholds in a file; ThresholdsError says what is wrong with it."""
    try:
        return TypeAdapter(list[Threshold]).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ThresholdsError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise ThresholdsError(f"{path}: {problems(error)}") from error


def check(thresholds: Sequence[Threshold], run: Recording, echo: Recording) -> list[Outcome]:
    """Each threshold with what `run` came to; `echo` is the bare echo's recording."""
    outcomes = []
    for threshold in thresholds:
        limit = threshold.limit
        if threshold.unit == "echo":
            limit *= measured(threshold.figure, echo)
        outcomes.append(Outcome(threshold, measured(threshold.figure, run.called(threshold.of)), limit))
    return outcomes


def measured(figure: Figure, run: Recording) -> float:
    """A figure of a run, in the unit that thresholds have."""
    if figure == "errors":
        return run.failures / run.calls if run.calls else float("nan")
    if figure == "throughput":
        return run.throughput
    return run.quantile(int(figure[1:]) / 100) * 1e3
