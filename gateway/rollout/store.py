"""Plans where every replica reads and writes them, with their history.

A change is made by creating `<model>/.rollout/<generation>.json`, which holds the plan before and after it: the store
lets one writer alone create it, so that nobody overwrites a change that he has not seen. `<model>/rollout.json` is the
plan as of the last change, written afterwards; a writer that dies in between is finished by whoever reads the history.
"""

import enum
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.errors import Conflict
from gateway.rollout.files import Files
from gateway.rollout.plan import Plan, PlanError
from serving.validation import problems

log = structlog.get_logger("gateway.rollout")

_PLAN, _HISTORY = "rollout.json", ".rollout"


class Action(enum.StrEnum):
    """What was done to a plan."""

    PIN = "pin"
    START = "start"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    ABORT = "abort"


class Event(BaseModel):
    """A change as history keeps it; `after.changed` says who made it, when and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    before: Plan | None
    after: Plan


@dataclass(frozen=True, slots=True)
class Reading:
    """What a look at a model's plan found."""

    plan: Plan | None
    """The plan in force: the newest that can be read."""
    problem: str = ""
    """What could not be read; empty if nothing."""


class PlanStore:
    """The plans; methods block, and raise OSError if the store cannot be reached."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, model: str, known: Plan | None = None) -> Reading:
        """The plan, none older than the `known` one. A file that makes no sense changes nothing."""
        problem = ""
        content = self._files.read(f"{_directory(model)}/{_PLAN}")
        newest = known
        try:
            found = _plan(content, model) if content is not None else None
            if found and (known is None or found.generation > known.generation):
                newest = found
        except PlanError as error:
            problem = f"{_PLAN}: {error}"
        if newest is None:
            newest = self._last(model)
        elif content is None and self._files.read(_entry(model, newest.generation)) is None:
            # Somebody has removed plan and history: that ends it.
            return Reading(None)
        try:
            while newest is not None and (event := self._event(model, newest.generation + 1)):
                newest = event.after
        except PlanError as error:
            problem = problem or str(error)
        return Reading(newest, problem)

    def write(self, event: Event) -> None:
        """Makes a change. Conflict if there is one of this generation already."""
        after = event.after
        try:
            self._files.create(_entry(after.model, after.generation), _json(event))
        except FileExistsError:
            raise Conflict(
                f"the roll-out plan of {after.model!r} has been changed meanwhile; look at it again",
                reason="ROLLOUT_CHANGED",
                metadata={"generation": str(after.generation)},
            ) from None
        try:
            self._files.replace(f"{_directory(after.model)}/{_PLAN}", _json(after))
        except OSError as error:
            # The change is made: whoever reads the plan finds it in the history.
            log.warning("plan file not written", model=after.model, message=str(error))

    def events(self, model: str, limit: int, newest: int | None = None) -> list[Event]:
        """The changes up to generation `newest`, newest first; what cannot be read is left out."""
        events: list[Event] = []
        for generation in self._generations(model):
            if newest is not None and generation > newest:
                continue
            if len(events) == limit:
                break
            try:
                event = self._event(model, generation)
            except PlanError as error:
                log.warning("history unreadable", model=model, message=str(error))
            else:
                events += [event] if event else []
        return events

    def _last(self, model: str) -> Plan | None:
        newest = self.events(model, 1)
        return newest[0].after if newest else None

    def _generations(self, model: str) -> list[int]:
        names = (name.removesuffix(".json") for name in self._files.names(f"{_directory(model)}/{_HISTORY}"))
        return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)

    def _event(self, model: str, generation: int) -> Event | None:
        path = _entry(model, generation)
        content = self._files.read(path)
        if content is None:
            return None
        try:
            event = Event.model_validate_json(content)
        except ValidationError as error:
            raise PlanError(f"{path}: {problems(error)}") from error
        if event.after.model != model or event.after.generation != generation:
            raise PlanError(f"{path} is about {event.after.model!r}, generation {event.after.generation}")
        return event


def _plan(content: bytes, model: str) -> Plan:
    plan = Plan.parse(content)
    if plan.model != model:
        raise PlanError(f"model: the plan is one for {plan.model!r}")
    return plan


def _directory(model: str) -> str:
    # A name is one step of a path, whatever is in it.
    return quote(model, safe=" ") if model.strip(".") else quote(model).replace(".", "%2E")


def _entry(model: str, generation: int) -> str:
    return f"{_directory(model)}/{_HISTORY}/{generation:08}.json"


def _json(document: BaseModel) -> bytes:
    return document.model_dump_json(indent=2).encode() + b"\n"
