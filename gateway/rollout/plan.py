"""A roll-out plan: which versions answer a model's default traffic, in which shares, and what comes next."""

import enum
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.split import Split, Witness
from serving.validation import problems

STEPS = (1.0, 5.0, 25.0, 50.0, 100.0)
WHOLE = 100.0
_ROUNDING = 1e-6
Percent = Annotated[float, Field(ge=0, le=WHOLE)]
Version = Annotated[int, Field(ge=1)]


class PlanError(ValueError):
    """A plan that makes no sense, or cannot be read."""


class State(enum.StrEnum):
    """How a roll-out stands."""

    RUNNING = "RUNNING"
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"
    PINNED = "PINNED"


class Mode(enum.StrEnum):
    """What happens to the candidate: it answers a share of the traffic, or is shown a copy of a share."""

    CANARY = "canary"
    SHADOW = "shadow"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Document):
    """A version and how much of the default traffic it answers, in percent."""

    version: Version
    role: Literal["stable", "candidate", "previous"]
    """`previous` was stable before the last promotion: none of the traffic, but nobody may remove it."""
    share: Percent


class Change(_Document):
    """Who changed something, when and why."""

    by: str
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    reason: str = ""


class Rules(_Document):
    """When a roll-out goes a step further."""

    steps: Annotated[tuple[Annotated[float, Field(gt=0, le=WHOLE)], ...], Field(min_length=1, max_length=100)] = STEPS
    """The candidate's shares in percent, rising to 100."""
    min_samples: Annotated[int, Field(ge=0)] = 500
    """Calls that the candidate must have had in a step, or in the shadow."""
    min_seconds: Annotated[float, Field(ge=0)] = 300.0
    """How long a step lasts at least."""
    min_labels: Annotated[int, Field(ge=0)] = 0
    """Labelled answers of the candidate that there must be before it is promoted."""
    copied: Percent = WHOLE
    """In the shadow: how much of the traffic is copied."""
    auto_advance: bool = True
    """Whether evidence alone goes on to the next step; rolling back never asks."""

    @model_validator(mode="after")
    def _rising(self) -> "Rules":
        if list(self.steps) != sorted(set(self.steps)) or self.steps[-1] != WHOLE:
            raise ValueError(f"steps are {list(self.steps)}; expected rising percentages that end with 100")
        return self


class Plan(_Document):
    """A model's plan. `generation` counts its changes; whoever changes it says which generation that was."""

    schema_version: Literal[1] = 1
    model: str
    generation: Annotated[int, Field(ge=1)] = 1
    state: State
    mode: Mode
    versions: Annotated[tuple[Share, ...], Field(min_length=1, max_length=2)]
    rules: Rules = Rules()
    step: Annotated[int, Field(ge=0)] = 0
    """The place in `rules.steps`; 0 in the shadow."""
    step_started: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    started: Change
    changed: Change

    @classmethod
    def parse(cls, content: bytes) -> "Plan":
        """The plan that a file holds; PlanError says what is wrong with it."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise PlanError(problems(error)) from error

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        roles = [route.role for route in self.versions]
        running = self.state is State.RUNNING
        if roles.count("stable") != 1 or (roles.count("candidate") == 1) != running:
            raise ValueError(f"versions are {roles}; expected one stable, and while RUNNING one candidate")
        if len({route.version for route in self.versions}) < len(self.versions):
            raise ValueError("versions has the same version twice")
        total = sum(route.share for route in self.versions)
        if abs(total - WHOLE) > _ROUNDING:
            raise ValueError(f"the shares sum to {total:g}; expected 100")
        if running and self.step >= len(self.rules.steps):
            raise ValueError(f"step is {self.step}; there are {len(self.rules.steps)}")
        return self

    @property
    def stable(self) -> int:
        """The version that everybody else's answers come from."""
        return next(route.version for route in self.versions if route.role == "stable")

    @property
    def candidate(self) -> int | None:
        """The version on trial."""
        return next((route.version for route in self.versions if route.role == "candidate"), None)

    @property
    def share(self) -> float:
        """How much the candidate answers, in percent."""
        return next((route.share for route in self.versions if route.role == "candidate"), 0.0)

    def describe(self) -> str:
        """The plan in a few words."""
        if self.state is not State.RUNNING:
            return f"{self.state.lower().replace('_', ' ')}: version {self.stable} answers"
        if self.mode is Mode.SHADOW:
            return f"version {self.candidate} in the shadow of {self.stable}, {self.rules.copied:g} % copied"
        return f"version {self.candidate} answers {self.share:g} %, {self.stable} the rest"

    def split(self, witness: Witness) -> Split:
        """What routing needs of it."""
        shadow = self.mode is Mode.SHADOW
        return Split(
            self.stable,
            witness,
            candidate=self.candidate,
            share=(self.rules.copied if shadow else self.share) / WHOLE,
            shadow=shadow,
            salt=str(self.candidate).encode(),
        )

    def advanced(self, change: Change) -> "Plan":
        """The next step: out of the shadow, to the next share, or after the last to promotion."""
        if self.mode is Mode.SHADOW:
            return self._at(0, change)
        if self.step + 1 < len(self.rules.steps):
            return self._at(self.step + 1, change)
        return self.promoted(change)

    def promoted(self, change: Change) -> "Plan":
        """The candidate as stable, which it stays until the next roll-out."""
        return self._ended(State.PROMOTED, change, self._candidate(), previous=self.stable)

    def withdrawn(self, state: State, change: Change) -> "Plan":
        """Without the candidate: ROLLED_BACK by evidence, or ABORTED by somebody."""
        return self._ended(state, change, self.stable, previous=None)

    def _candidate(self) -> int:
        candidate = self.candidate
        if candidate is None:
            raise PlanError("there is no candidate")
        return candidate

    def _at(self, step: int, change: Change) -> "Plan":
        return self._changed(
            change,
            mode=Mode.CANARY,
            step=step,
            versions=divided(self.stable, self._candidate(), self.rules.steps[step]),
        )

    def _ended(self, state: State, change: Change, stable: int, previous: int | None) -> "Plan":
        versions = [Share(version=stable, role="stable", share=WHOLE)]
        if previous is not None:
            versions.append(Share(version=previous, role="previous", share=0.0))
        return self._changed(change, state=state, versions=tuple(versions))

    def _changed(self, change: Change, **fields: object) -> "Plan":
        common = {"generation": self.generation + 1, "changed": change, "step_started": change.at}
        return Plan.model_validate(dict(self) | common | fields)


def pinned(model: str, stable: int, change: Change) -> Plan:
    """The plan of a model that had none: it stays at a version until a roll-out."""
    return Plan(
        model=model,
        state=State.PINNED,
        mode=Mode.CANARY,
        versions=(Share(version=stable, role="stable", share=WHOLE),),
        step_started=change.at,
        started=change,
        changed=change,
    )


def divided(stable: int, candidate: int, share: float) -> tuple[Share, Share]:
    """The shares of a running roll-out, `share` in percent."""
    return (
        Share(version=stable, role="stable", share=WHOLE - share),
        Share(version=candidate, role="candidate", share=share),
    )


def started(
    model: str, stable: int, candidate: int, *, mode: Mode, rules: Rules, change: Change, after: Plan | None
) -> Plan:
    """A new roll-out after the plan that there was. PlanError if it makes no sense."""
    share = 0.0 if mode is Mode.SHADOW else rules.steps[0]
    try:
        return Plan(
            model=model,
            generation=after.generation + 1 if after else 1,
            state=State.RUNNING,
            mode=mode,
            versions=divided(stable, candidate, share),
            rules=rules,
            step_started=change.at,
            started=change,
            changed=change,
        )
    except ValidationError as error:
        raise PlanError(problems(error)) from error
