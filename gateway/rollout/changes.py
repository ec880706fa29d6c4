"""What people may do to a plan, and what is refused."""

from gateway.catalog import Model
from gateway.errors import Conflict, InvalidInput, PreconditionFailed
from gateway.rollout.plan import Change, Mode, Plan, PlanError, Rules, State, started
from gateway.rollout.store import Action, Event

_MAX_REASON = 1000


def change(by: str, reason: str) -> Change:
    """Who changes a plan now, and why; InvalidInput if the reason is too long."""
    if len(reason) > _MAX_REASON:
        raise InvalidInput(f"the reason has {len(reason)} characters; expected {_MAX_REASON} at most", field="reason")
    return Change(by=by, reason=reason)


def start(
    model: Model, plan: Plan | None, candidate: int, *, stable: int, mode: Mode, rules: Rules, change: Change
) -> Event:
    """A roll-out. A `stable` of 0 is what answers by default now.

    PreconditionFailed if one is under way or a version is not AVAILABLE, InvalidInput if it makes no sense.
    """
    if plan is not None and plan.state is State.RUNNING:
        raise PreconditionFailed(
            f"a roll-out of {model.name!r} is under way: {plan.describe()}; abort it first", reason="ROLLOUT_RUNNING"
        )
    base = stable or (model.default.version if model.default else 0)
    if base == candidate:
        raise InvalidInput(f"version {candidate} is stable already; expected another as candidate", field="candidate")
    for version in (base, candidate):
        _check_available(model, version)
    try:
        after = started(model.name, base, candidate, mode=mode, rules=rules, change=change, after=plan)
    except PlanError as error:
        raise InvalidInput(str(error)) from error
    return Event(action=Action.START, before=plan, after=after)


def advance(model: Model, plan: Plan | None, generation: int, change: Change) -> Event:
    """The next step. PreconditionFailed if no roll-out is under way or its candidate is not AVAILABLE, Conflict if the
    plan is not of that generation; 0 is any.
    """
    running = _running(model, plan, generation)
    _check_available(model, running.candidate or 0)
    return advancing(running, running.advanced(change))


def advancing(before: Plan, after: Plan) -> Event:
    """A step as history names it: the one after the last is a promotion."""
    action = Action.PROMOTE if after.state is State.PROMOTED else Action.ADVANCE
    return Event(action=action, before=before, after=after)


def promote(model: Model, plan: Plan | None, generation: int, change: Change) -> Event:
    """The candidate as stable; raises what `advance` does."""
    running = _running(model, plan, generation)
    _check_available(model, running.candidate or 0)
    return Event(action=Action.PROMOTE, before=running, after=running.promoted(change))


def abort(model: Model, plan: Plan | None, generation: int, change: Change) -> Event:
    """The candidate taken back; raises what `advance` does, but that it need not be AVAILABLE."""
    running = _running(model, plan, generation)
    return Event(action=Action.ABORT, before=running, after=running.withdrawn(State.ABORTED, change))


def _check_available(model: Model, number: int) -> None:
    version = model.versions.get(number)
    if version is None or version.servable is None:
        state = f"is {version.state.value}: {version.detail}" if version else "does not exist"
        raise PreconditionFailed(
            f"version {number} of the model {model.name!r} {state}; expected AVAILABLE", reason="VERSION_NOT_AVAILABLE"
        )


def _running(model: Model, plan: Plan | None, generation: int) -> Plan:
    """The plan if a roll-out is under way, else PreconditionFailed; Conflict if it is not of the `generation` asked."""
    if plan is None or plan.state is not State.RUNNING:
        stands = plan.describe() if plan else "there is no plan"
        raise PreconditionFailed(f"no roll-out of {model.name!r} is under way: {stands}", reason="NO_ROLLOUT")
    if generation not in (0, plan.generation):
        raise Conflict(
            f"the plan of {model.name!r} has generation {plan.generation}, not {generation}: it was changed meanwhile",
            reason="ROLLOUT_CHANGED",
            metadata={"generation": str(plan.generation)},
        )
    return plan
