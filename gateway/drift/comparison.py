"""How far counts are from their reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.drift.sketch import Feature
from gateway.drift.statistics import Counts, chi_squared, holm, kolmogorov_smirnov
from serving.reference import jensen_shannon, psi


@dataclass(frozen=True, eq=False)
class Comparison:
    """One feature's counts beside their reference; NaN and 1 where there are none."""

    feature: Feature
    counts: Counts
    psi: float
    jensen_shannon: float
    chi_squared: float
    """The p-value of the test by this name."""
    kolmogorov_smirnov: float | None
    """The p-value of the test by this name; None where bins have no order."""
    p_value: float
    """The smaller of both, after Holm's correction over all tests of all features."""

    @property
    def rows(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())


def compare(features: Sequence[Feature], parts: Sequence[Counts]) -> list[Comparison]:
    """Each feature's counts beside its reference, which is a sample too: clean data differ from it by chance."""
    tests = [_tests(feature, part) for feature, part in zip(features, parts, strict=True)]
    adjusted = iter(holm([p_value for each in tests for p_value in each]))
    return [
        Comparison(
            feature,
            part,
            *_distances(feature, part),
            each[0],
            each[1] if len(each) > 1 else None,
            min(next(adjusted) for _ in each),
        )
        for feature, part, each in zip(features, parts, tests, strict=True)
    ]


def _tests(feature: Feature, counts: Counts) -> Sequence[float]:
    ordered = feature.histogram is not None
    found = [chi_squared(feature.reference, counts, ordered=ordered)]
    return [*found, kolmogorov_smirnov(feature.reference, counts)] if ordered else found


def _distances(feature: Feature, counts: Counts) -> tuple[float, float]:
    if not counts.any() or not feature.reference.any():
        return math.nan, math.nan
    return psi(feature.reference, counts), jensen_shannon(feature.reference, counts)
