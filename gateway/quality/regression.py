"""A regression's figures, by sums over its labelled predictions."""

from dataclasses import dataclass

from gateway.quality.intervals import Figure, mean, root


@dataclass(frozen=True, slots=True)
class Errors:
    """How many labelled predictions, and sums over their errors: the prediction less the label."""

    n: int
    error: float
    absolute: float
    squared: float
    fourth: float
    delay: float


@dataclass(frozen=True, slots=True)
class RegressionQuality:
    """How good a regression is, in the target's unit."""

    rmse: Figure
    mae: Figure
    bias: Figure
    """The mean error: above 0 if predictions are too high."""


def of(errors: Errors) -> RegressionQuality | None:
    """The figures; None if there are no labels."""
    if errors.n <= 0:
        return None
    return RegressionQuality(
        rmse=root(mean(errors.n, errors.squared, errors.fourth, least=0)),
        mae=mean(errors.n, errors.absolute, errors.squared, least=0),
        bias=mean(errors.n, errors.error, errors.squared),
    )
