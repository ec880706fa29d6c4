"""Roll-outs as a whole: plans read and put into force, judged by evidence, changed by people and by verdicts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import structlog

from gateway.catalog import Catalog, Model
from gateway.errors import Conflict, PreconditionFailed
from gateway.observations import Observation
from gateway.rollout import changes
from gateway.rollout.changes import change
from gateway.rollout.evidence import Labels, LabelSource, Source
from gateway.rollout.metrics import RolloutMetrics
from gateway.rollout.plan import Change, Mode, Plan, Rules, State, pinned
from gateway.rollout.store import Action, Event, PlanStore
from gateway.rollout.trial import Trial
from gateway.rollout.verdict import Decision, Evidence, Verdict
from gateway.settings.rollout import RolloutSettings

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")

log = structlog.get_logger("gateway.rollout")

GATEWAY = "gateway"
"""Who changes plans by verdict, in their history."""


@dataclass(slots=True)
class _Followed:
    """One model's plan as this gateway follows it."""

    plan: Plan
    trial: Trial
    evidence: Evidence
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How a model's roll-out stands; without a plan, what answers by default."""

    model: str
    plan: Plan | None
    default: int
    """The version that answers requests which name none, but for the candidate's share; 0 for none."""
    stable_available: bool
    candidate_available: bool
    verdict: Verdict | None
    problem: str
    """What is wrong with the plan's file; empty if nothing."""


class Rollouts:
    """The roll-outs of the catalog's models. `busy` says whether copies for the shadow would be in the way."""

    def __init__(
        self,
        store: PlanStore,
        catalog: Catalog,
        metrics: RolloutMetrics,
        settings: RolloutSettings,
        *,
        busy: Callable[[], bool],
        elsewhere: Source | None = None,
        labels: Labels | None = None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._metrics = metrics
        self._settings = settings
        self._busy = busy
        self._elsewhere = elsewhere
        """Who knows what all replicas have counted; None to go by this gateway's own counters."""
        self._labels = LabelSource(labels) if labels else None
        self._followed: dict[str, _Followed] = {}
        self._problems: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def observe(self, observation: Observation) -> None:
        """An Observer: takes notice of answers of versions on trial."""
        followed = self._followed.get(observation.servable.model)
        if followed is not None and followed.plan.state is State.RUNNING:
            followed.trial.observed(observation)

    async def watch(self) -> None:
        """Follows every model's plan until cancelled."""
        while True:
            await asyncio.gather(*(self.look(name) for name in list(self._catalog.models)))
            await asyncio.sleep(self._settings.poll_interval)

    def close(self) -> None:
        """Drops what is under way in the shadow."""
        for followed in self._followed.values():
            followed.trial.close()

    async def look(self, name: str) -> None:
        """Puts the newest plan of a model into force, weighs the evidence and acts on it. Never raises."""
        try:
            async with self._lock(name):
                await self._refresh(name)
                await self._pin(name)
                await self._judge(name)
        except Conflict as error:
            # Another replica has done the same, or somebody something else: seen at the next look.
            log.info("roll-out changed elsewhere", model=name, message=error.message)
        except Exception:
            log.exception("roll-out not followed", model=name)

    def status(self, name: str) -> Status:
        """How the model's roll-out stands; ModelNotFound if the gateway does not serve it."""
        model = self._catalog.model(name)
        followed = self._followed.get(model.name)
        plan = followed.plan if followed else None
        default = model.default
        return Status(
            model.name,
            plan,
            default.version if default else 0,
            stable_available=default is not None and (plan is None or default.version == plan.stable),
            candidate_available=model.candidate is not None,
            verdict=followed.verdict if followed else None,
            problem=self._problems.get(model.name, ""),
        )

    async def events(self, name: str, limit: int, newest: int | None = None) -> list[Event]:
        """The changes of a model's plan up to generation `newest`, newest first."""
        return await self._io(self._store.events, self._catalog.model(name).name, limit, newest)

    async def start(
        self, name: str, candidate: int, *, stable: int, mode: Mode, rules: Rules, by: str, reason: str
    ) -> Status:
        """Starts a roll-out; see `changes.start`."""
        return await self._change(
            name,
            lambda model, plan: changes.start(
                model, plan, candidate, stable=stable, mode=mode, rules=rules, change=change(by, reason)
            ),
        )

    async def advance(self, name: str, *, generation: int, by: str, reason: str) -> Status:
        """Goes to the next step, whatever the evidence says; see `changes.advance`."""
        return await self._change(
            name, lambda model, plan: changes.advance(model, plan, generation, change(by, reason))
        )

    async def promote(self, name: str, *, generation: int, by: str, reason: str) -> Status:
        """Makes the candidate stable, whatever the evidence says; see `changes.promote`."""
        return await self._change(
            name, lambda model, plan: changes.promote(model, plan, generation, change(by, reason))
        )

    async def abort(self, name: str, *, generation: int, by: str, reason: str) -> Status:
        """Takes the candidate back; see `changes.abort`."""
        return await self._change(name, lambda model, plan: changes.abort(model, plan, generation, change(by, reason)))

    async def _change(self, name: str, make: Callable[[Model, Plan | None], Event]) -> Status:
        """Changes the plan as of now, and puts the new one into force."""
        model = self._catalog.model(name)
        async with self._lock(model.name):
            await self._catalog.refresh(model.name)
            await self._refresh(model.name)
            followed = self._followed.get(model.name)
            await self._write(make(model, followed.plan if followed else None))
        return self.status(model.name)

    async def _write(self, event: Event) -> None:
        await self._io(self._store.write, event)
        after = event.after
        self._metrics.decisions.labels(after.model, event.action.value).inc()
        log.info(
            "roll-out",
            model=after.model,
            action=event.action.value,
            plan=after.describe(),
            generation=after.generation,
            by=after.changed.by,
            reason=after.changed.reason,
        )
        self._follow(after)

    async def _refresh(self, name: str) -> None:
        """Reads the plan; what cannot be read leaves the last good one in force."""
        followed = self._followed.get(name)
        try:
            reading = await asyncio.to_thread(self._store.read, name, followed.plan if followed else None)
        except OSError as error:
            self._note_problem(name, f"the store cannot be read: {error}")
            return
        self._note_problem(name, reading.problem)
        if reading.plan is None:
            self._unfollow(name)
        elif followed is None or reading.plan.generation > followed.plan.generation:
            self._follow(reading.plan)
        self._show_availability(name)

    def _note_problem(self, name: str, problem: str) -> None:
        if problem:
            self._metrics.plan_errors.labels(name).inc()
            if problem != self._problems.get(name):
                log.error("roll-out plan unreadable, the last good one stays", model=name, message=problem)
        self._problems[name] = problem

    def _follow(self, plan: Plan) -> None:
        """Puts a plan into force: from now on calls are routed by it."""
        name = plan.model
        model = self._catalog.models.get(name)
        if model is None:
            return
        followed = self._followed.get(name)
        if followed is None or followed.plan.started != plan.started:
            self._unfollow(name)
            trial = Trial(plan, self._settings, self._metrics, self._busy)
            followed = self._followed[name] = _Followed(plan, trial, Evidence(self._settings))
        else:
            followed.evidence.begin_step()
        followed.plan = followed.trial.plan = plan
        followed.verdict = None
        if plan.state is not State.RUNNING:
            followed.trial.close()
        model.split = plan.split(followed.trial)
        self._show(plan)
        log.info("plan in force", model=name, plan=plan.describe(), generation=plan.generation)

    def _unfollow(self, name: str) -> None:
        followed = self._followed.pop(name, None)
        if followed is None:
            return
        followed.trial.close()
        self._metrics.forget(name)
        if name in self._catalog.models:
            self._catalog.models[name].split = None

    async def _pin(self, name: str) -> None:
        """Gives a model its first plan, if it is to have one."""
        model = self._catalog.models.get(name)
        if not self._settings.pin or name in self._followed or self._problems.get(name) or model is None:
            return
        if model.default is not None:
            why = Change(by=GATEWAY, reason="there was no plan")
            await self._write(Event(action=Action.PIN, before=None, after=pinned(name, model.default.version, why)))

    async def _judge(self, name: str) -> None:
        followed = self._followed.get(name)
        if followed is None or followed.plan.state is not State.RUNNING or name not in self._catalog.models:
            return
        plan = followed.plan
        own = followed.trial.take()
        try:
            followed.evidence.add(await self._elsewhere.take(plan) if self._elsewhere else own)
            if self._labels:
                followed.evidence.add(await self._labels.take(plan))
        except OSError as error:
            self._metrics.evidence_errors.labels(name).inc()
            log.warning("evidence not to be had", model=name, message=str(error))
            # What is known goes on to count: an outage elsewhere must not keep a bad candidate.
        model = self._catalog.models[name]
        now = datetime.now(UTC)
        verdict = followed.verdict = followed.evidence.judge(plan, now, available=model.candidate is not None)
        for finding in verdict.findings:
            self._metrics.against.labels(name, finding.metric.value).set(finding.evidence)
            self._metrics.difference.labels(name, finding.metric.value).set(finding.difference)
        why = Change(by=GATEWAY, at=now, reason=verdict.text)
        if verdict.decision is Decision.ROLL_BACK:
            after = plan.withdrawn(State.ROLLED_BACK, why)
            await self._write(Event(action=Action.ROLL_BACK, before=plan, after=after))
        elif verdict.decision is Decision.ADVANCE and plan.rules.auto_advance:
            after = plan.advanced(why)
            await self._write(changes.advancing(plan, after))

    def _show(self, plan: Plan) -> None:
        metrics, name = self._metrics, plan.model
        metrics.forget(name)
        metrics.running.labels(name).set(plan.state is State.RUNNING)
        metrics.generation.labels(name).set(plan.generation)
        metrics.step_started.labels(name).set(plan.step_started.timestamp())
        for route in plan.versions:
            metrics.share.labels(name, str(route.version), route.role).set(route.share / 100)

    def _show_availability(self, name: str) -> None:
        followed, model = self._followed.get(name), self._catalog.models.get(name)
        if followed is None or model is None:
            return
        status = self.status(name)
        self._metrics.available.labels(name, "stable").set(status.stable_available)
        if followed.plan.candidate is not None:
            self._metrics.available.labels(name, "candidate").set(status.candidate_available)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _io(
        self, work: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        try:
            return await asyncio.to_thread(work, *arguments, **named)
        except OSError as error:
            raise PreconditionFailed(
                "the roll-out plans cannot be reached now", reason="PLANS_UNREACHABLE", private=str(error)
            ) from error
