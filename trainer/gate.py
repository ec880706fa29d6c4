"""The gate: whether a model is published, and why.

A candidate must reach the recipe's floors, stay under its ceilings and limits, and stand beside the champion: the model
in use answers the same held-out examples, by its own preprocessing, and a paired test says whether a difference is
chance. The question is that of non-inferiority, asked plainly: by default a candidate is refused if it is significantly
worse at `alpha`, two-sided, and passes otherwise. On few examples little is significant; floors hold regardless. With
`champion: better` it has to be significantly better.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.comparison import PairedTest
from trainer.errors import TrainingError
from trainer.recipe import Gate

_MEGABYTE = 1e6
_DRIFTED = 0.25


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")


class Check(_Part):
    """One condition and what became of it; of `champion` the value is the test's p-value, the limit alpha."""

    name: str
    value: float | None
    """None of what was not measured."""
    limit: float
    passed: bool
    reason: str
    """One sentence for people."""


class Drift(_Part):
    """How far a feature of the training data is from the champion's reference; serving/reference.py defines both."""

    psi: float
    jensen_shannon: float


class Champion(_Part):
    """The model in use, and how it did on the candidate's held-out examples."""

    version: str
    """In the registry."""
    store_version: str
    run_id: str
    figures: Mapping[str, float]
    test: PairedTest
    """The candidate is the second."""
    drift: Mapping[str, Drift]
    seen: int | None
    """How many of the held-out examples it was trained on; None where that is not recorded."""


class Verdict(_Part):
    """What the gate says."""

    model: str
    passed: bool
    checks: tuple[Check, ...]
    champion: Champion | None = None
    """None where there is none, it is ignored, or MLflow could not be asked."""
    warnings: tuple[str, ...] = ()
    figures: Mapping[str, float] = Field(default_factory=dict)
    """The candidate's, all that were measured."""

    @property
    def reasons(self) -> str:
        """Why it did not pass, in one line."""
        return "; ".join(check.reason for check in self.checks if not check.passed)


def check_names(settings: Gate, known: Iterable[str]) -> None:
    """TrainingError if a floor or a ceiling is of no figure in `known`: better said before training than after."""
    names = list(known)
    for kind, limits in (("floors", settings.floors), ("ceilings", settings.ceilings)):
        if unknown := [name for name in limits if name not in names]:
            raise TrainingError(f"gate.{kind}: no figure is called {', '.join(unknown)}; there are {', '.join(names)}")


def judge(
    model: str,
    settings: Gate,
    figures: Mapping[str, float],
    champion: Champion | None,
    warnings: Iterable[str] = (),
) -> Verdict:
    """The verdict on a candidate called `model` with `figures`, its evaluation and its costs by name."""
    checks = tuple(_checks(settings, figures, champion))
    return Verdict(
        model=model,
        passed=all(check.passed for check in checks),
        checks=checks,
        champion=champion,
        warnings=(*warnings, *(_warnings(champion) if champion else ())),
        figures=figures,
    )


def _checks(settings: Gate, figures: Mapping[str, float], champion: Champion | None) -> Iterator[Check]:
    for name, limit in settings.floors.items():
        yield _check(name, figures.get(name), limit, "at least")
    for name, limit in settings.ceilings.items():
        yield _check(name, figures.get(name), limit, "at most")
    limits = (
        ("latency_p50_ms", figures.get("latency_ms_1"), settings.max_latency_p50_ms),
        ("latency_p99_ms", figures.get("latency_ms_1_p99"), settings.max_latency_p99_ms),
        ("size_mb", figures["size_bytes"] / _MEGABYTE if "size_bytes" in figures else None, settings.max_size_mb),
    )
    for name, value, maximum in limits:
        if maximum is not None:
            yield _check(name, value, maximum, "at most")
    if champion:
        yield _beside(champion, settings)


def _check(name: str, value: float | None, limit: float, relation: Literal["at least", "at most"]) -> Check:
    # Written so that a NaN does not pass.
    passed = value is not None and (value >= limit if relation == "at least" else value <= limit)
    found = "was not measured" if value is None else f"is {value:.6g}"
    reason = f"{name} {found}, expected {relation} {limit:g}"
    return Check(name=name, value=value, limit=limit, passed=passed, reason=reason)


def _beside(champion: Champion, settings: Gate) -> Check:
    test = champion.test
    significant = test.p_value < settings.alpha
    passed = not test.worse if significant else settings.champion != "better"
    found = ("significantly worse" if test.worse else "significantly better") if significant else "not told apart"
    return Check(
        name="champion",
        value=test.p_value,
        limit=settings.alpha,
        passed=passed,
        reason=f"beside the champion, version {champion.version}, it is {found} ({test})",
    )


def _warnings(champion: Champion) -> Iterator[str]:
    if champion.seen is None:
        yield "it is not recorded what the champion was trained on: it may know some of the held-out examples"
    elif champion.seen:
        yield f"the champion was trained on {champion.seen} of the held-out examples: the test favours it"
    for name, drift in champion.drift.items():
        if drift.psi > _DRIFTED:
            yield f"the training data's {name} is far from the champion's reference (PSI {drift.psi:.3f})"
