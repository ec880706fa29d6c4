"""tensorgate.v1.RolloutService."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import ValidationError

from gateway.call import current_call
from gateway.catalog import Catalog
from gateway.errors import InvalidInput, PreconditionFailed
from gateway.rollout import plan as plans
from gateway.rollout.plan import Change, Mode, Plan, Rules, State
from gateway.rollout.rollouts import Rollouts, Status
from gateway.rollout.store import Event
from gateway.rollout.verdict import Decision, Verdict
from gateway.servicers.access import authorized
from serving.validation import problems
from tensorgate.v1 import rollout_service_pb2 as pb
from tensorgate.v1.rollout_service_pb2_grpc import RolloutServiceServicer

NAME = "tensorgate.v1.RolloutService"
_DEFAULT_PAGE, _MAX_PAGE = 20, 100
_STATES = {
    State.RUNNING: pb.ROLLOUT_STATE_RUNNING,
    State.PROMOTED: pb.ROLLOUT_STATE_PROMOTED,
    State.ROLLED_BACK: pb.ROLLOUT_STATE_ROLLED_BACK,
    State.ABORTED: pb.ROLLOUT_STATE_ABORTED,
    State.PINNED: pb.ROLLOUT_STATE_PINNED,
}
_MODES = {Mode.CANARY: pb.ROLLOUT_MODE_CANARY, Mode.SHADOW: pb.ROLLOUT_MODE_SHADOW}
_WANTED_MODES = {
    pb.ROLLOUT_MODE_UNSPECIFIED: Mode.CANARY,
    pb.ROLLOUT_MODE_CANARY: Mode.CANARY,
    pb.ROLLOUT_MODE_SHADOW: Mode.SHADOW,
}
_ROLES = {
    "stable": pb.ROLLOUT_ROLE_STABLE,
    "candidate": pb.ROLLOUT_ROLE_CANDIDATE,
    "previous": pb.ROLLOUT_ROLE_PREVIOUS,
}
_DECISIONS = {
    Decision.HOLD: pb.ROLLOUT_DECISION_HOLD,
    Decision.ADVANCE: pb.ROLLOUT_DECISION_ADVANCE,
    Decision.ROLL_BACK: pb.ROLLOUT_DECISION_ROLL_BACK,
}


class RolloutServicer(RolloutServiceServicer):
    """The methods; `rollouts` is None where the gateway keeps no plans."""

    def __init__(self, rollouts: Rollouts | None, catalog: Catalog) -> None:
        self._rollouts = rollouts
        self._catalog = catalog

    async def GetRollout(self, request: pb.GetRolloutRequest, context: Any) -> pb.GetRolloutResponse:
        """Describes one model's roll-out."""
        return pb.GetRolloutResponse(rollout=self._rollout(authorized(self._catalog, request.model).name))

    async def ListRollouts(self, request: pb.ListRolloutsRequest, context: Any) -> pb.ListRolloutsResponse:
        """Describes the roll-outs of the models that the caller may call."""
        principal = current_call.get().principal
        names = sorted(name for name in self._catalog.models if principal.may("predict", name))
        return pb.ListRolloutsResponse(rollouts=[self._rollout(name) for name in names])

    async def StartRollout(self, request: pb.StartRolloutRequest, context: Any) -> pb.StartRolloutResponse:
        """Starts a roll-out."""
        rollouts, model, by = self._changing(request.model)
        if request.candidate_version < 1 or request.stable_version < 0:
            raise InvalidInput(
                f"the candidate is version {request.candidate_version} and stable {request.stable_version}; expected "
                "numbers above 0, or 0 for the default as stable",
                field="candidate_version",
            )
        if request.mode not in _WANTED_MODES:
            raise InvalidInput(f"the mode is {request.mode}; expected canary or shadow", field="mode")
        status = await rollouts.start(
            model,
            request.candidate_version,
            stable=request.stable_version,
            mode=_WANTED_MODES[request.mode],
            rules=_rules(request.rules),
            by=by,
            reason=request.reason,
        )
        return pb.StartRolloutResponse(rollout=_described(status))

    async def AdvanceRollout(self, request: pb.AdvanceRolloutRequest, context: Any) -> pb.AdvanceRolloutResponse:
        """Goes to the next step."""
        return pb.AdvanceRolloutResponse(rollout=await self._changed(request, lambda rollouts: rollouts.advance))

    async def PromoteRollout(self, request: pb.PromoteRolloutRequest, context: Any) -> pb.PromoteRolloutResponse:
        """Makes the candidate stable."""
        return pb.PromoteRolloutResponse(rollout=await self._changed(request, lambda rollouts: rollouts.promote))

    async def AbortRollout(self, request: pb.AbortRolloutRequest, context: Any) -> pb.AbortRolloutResponse:
        """Takes the candidate back."""
        return pb.AbortRolloutResponse(rollout=await self._changed(request, lambda rollouts: rollouts.abort))

    async def ListRolloutEvents(
        self, request: pb.ListRolloutEventsRequest, context: Any
    ) -> pb.ListRolloutEventsResponse:
        """The history."""
        model = authorized(self._catalog, request.model).name
        if request.page_size < 0:
            raise InvalidInput(f"page_size is {request.page_size}; expected 0 or more", field="page_size")
        token = request.page_token
        if token and not (token.isascii() and token.isdigit()):
            raise InvalidInput("page_token comes from no answer of this method", field="page_token")
        if self._rollouts is None:
            return pb.ListRolloutEventsResponse()
        size = min(request.page_size or _DEFAULT_PAGE, _MAX_PAGE)
        events = await self._rollouts.events(model, size + 1, newest=int(token) if token else None)
        page, rest = events[:size], events[size:]
        return pb.ListRolloutEventsResponse(
            events=[_event(event) for event in page], next_page_token=str(rest[0].after.generation) if rest else ""
        )

    def _rollout(self, model: str) -> pb.Rollout:
        if self._rollouts is not None:
            return _described(self._rollouts.status(model))
        default = self._catalog.models[model].default
        return _without_plan(model, default.version if default else 0)

    async def _changed(
        self,
        request: pb.AdvanceRolloutRequest | pb.PromoteRolloutRequest | pb.AbortRolloutRequest,
        method: Callable[[Rollouts], Callable[..., Awaitable[Status]]],
    ) -> pb.Rollout:
        rollouts, model, by = self._changing(request.model)
        if request.generation < 0:
            raise InvalidInput(f"generation is {request.generation}; expected 0 or more", field="generation")
        status = await method(rollouts)(model, generation=request.generation, by=by, reason=request.reason)
        return _described(status)

    def _changing(self, name: str) -> tuple[Rollouts, str, str]:
        """The roll-outs, the model's name and who wants to change its plan, if he may: rights come before existence."""
        call = current_call.get()
        call.principal.require_admin()
        model = self._catalog.model(name)
        call.model = model.name
        if self._rollouts is None:
            raise PreconditionFailed(
                "the gateway keeps no roll-out plans: its setting `rollout.plans` says where they are",
                reason="NO_ROLLOUT_PLANS",
            )
        return self._rollouts, model.name, call.principal.client


def _rules(message: pb.RolloutRules) -> Rules:
    fields: dict[str, object] = {}
    if message.step_percents:
        fields["steps"] = tuple(message.step_percents)
    if message.HasField("min_duration"):
        fields["min_seconds"] = message.min_duration.ToMicroseconds() / 1e6
    for name, field in (
        ("min_samples", "min_samples"),
        ("min_labels", "min_labels"),
        ("copied_percent", "copied"),
        ("auto_advance", "auto_advance"),
    ):
        if message.HasField(name):  # type: ignore[arg-type]  # one of those four
            fields[field] = getattr(message, name)
    try:
        return Rules.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(problems(error), field="rules") from error


def _described(status: Status) -> pb.Rollout:
    plan = status.plan
    if plan is None:
        rollout = _without_plan(status.model, status.default)
        rollout.problem = status.problem
        return rollout
    available = {"stable": status.stable_available, "candidate": status.candidate_available}
    rollout = pb.Rollout(
        model=status.model,
        state=_STATES[plan.state],
        mode=_MODES[plan.mode],
        generation=plan.generation,
        versions=[
            pb.RolloutVersion(
                version=route.version,
                role=_ROLES[route.role],
                share_percent=route.share,
                available=available.get(route.role, False),
            )
            for route in plan.versions
        ],
        rules=_rules_message(plan),
        step=plan.step,
        step_start_time=_time(plan.step_started),
        started=_change(plan.started),
        changed=_change(plan.changed),
        problem=status.problem,
    )
    if plan.state is State.RUNNING and status.verdict is not None:
        rollout.verdict.CopyFrom(_verdict(status.verdict))
    return rollout


def _without_plan(model: str, default: int) -> pb.Rollout:
    rollout = pb.Rollout(model=model, state=pb.ROLLOUT_STATE_NONE)
    if default:
        rollout.versions.add(version=default, role=pb.ROLLOUT_ROLE_STABLE, share_percent=plans.WHOLE, available=True)
    return rollout


def _rules_message(plan: Plan) -> pb.RolloutRules:
    rules = plan.rules
    message = pb.RolloutRules(
        step_percents=rules.steps,
        min_samples=rules.min_samples,
        min_labels=rules.min_labels,
        copied_percent=rules.copied,
        auto_advance=rules.auto_advance,
    )
    message.min_duration.FromMicroseconds(round(rules.min_seconds * 1e6))
    return message


def _verdict(verdict: Verdict) -> pb.RolloutVerdict:
    return pb.RolloutVerdict(
        decision=_DECISIONS[verdict.decision],
        reasons=verdict.reasons,
        findings=[
            pb.RolloutFinding(
                metric=finding.metric.value,
                stable=pb.RolloutCounts(bad=finding.stable.bad, total=finding.stable.total),
                candidate=pb.RolloutCounts(bad=finding.candidate.bad, total=finding.candidate.total),
                difference=finding.difference,
                tolerated=finding.tolerated,
                evidence_ratio=finding.evidence,
            )
            for finding in verdict.findings
        ],
    )


def _event(event: Event) -> pb.RolloutEvent:
    return pb.RolloutEvent(
        model=event.after.model,
        action=event.action.value,
        change=_change(event.after.changed),
        generation=event.after.generation,
        before=event.before.describe() if event.before else "",
        after=event.after.describe(),
    )


def _change(change: Change) -> pb.RolloutChange:
    return pb.RolloutChange(by=change.by, time=_time(change.at), reason=change.reason)


def _time(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
