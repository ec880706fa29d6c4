"""What the gateway knows of its models: it watches the backend and puts each version's contract to the test."""

import asyncio
import contextlib
import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import structlog

from gateway.backend import Backend, BackendVersion, Signature, type_name
from gateway.errors import BackendUnavailable, DeadlineExceeded, GatewayError, ModelNotFound
from gateway.metrics import Metrics
from gateway.split import Split
from serving import contract as contracts
from serving.contract import Contract, ContractError
from serving.preprocessing import Pipeline

log = structlog.get_logger("gateway.catalog")

DEFAULT_SIGNATURE = "serving_default"


class State(enum.Enum):
    """Whether a version can be routed to."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    REFUSED = "REFUSED"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Servable:
    """A version that can be routed to: what it takes and gives, and its contract if it carries one."""

    model: str
    version: int
    signatures: Mapping[str, Signature]
    contract: Contract | None = None
    pipeline: Pipeline | None = None

    @property
    def default_signature(self) -> str:
        """The signature that answers a request which names none."""
        return self.contract.signature if self.contract else DEFAULT_SIGNATURE


@dataclass(frozen=True, slots=True)
class Version:
    """One version with its state; `servable` if AVAILABLE, else `detail` says why not."""

    number: int
    state: State
    detail: str = ""
    servable: Servable | None = None


@dataclass(slots=True)
class Model:
    """A model with what was last seen of it."""

    name: str
    versions: dict[int, Version] = field(default_factory=dict)
    backend_up: bool = False
    stale: bool = True
    """Whether the backend was away since the versions were read: it may have other files behind the same numbers."""
    labels: dict[str, int] = field(default_factory=dict)
    """The version labels that were asked for since the last poll."""
    split: Split | None = None
    """What a roll-out plan says of default traffic; None without a plan."""

    @property
    def default(self) -> Servable | None:
        """What answers by default: the plan's stable version, or without a plan the highest that can be routed to.

        Should stable be gone, its candidate answers, and without that the highest: better than nobody.
        """
        if self.split is not None:
            planned = self._servable(self.split.stable) or self.candidate
            if planned is not None:
                return planned
        ready = [version.servable for version in self.versions.values() if version.servable]
        return max(ready, key=lambda servable: servable.version, default=None)

    @property
    def candidate(self) -> Servable | None:
        """The version on trial, if there is one and it can be routed to."""
        return self._servable(self.split.candidate) if self.split is not None else None

    def _servable(self, number: int | None) -> Servable | None:
        version = self.versions.get(number) if number is not None else None
        return version.servable if version is not None else None


class Catalog:
    """The models by name, kept up to date."""

    def __init__(
        self,
        names: Iterable[str],
        backend: Backend,
        metrics: Metrics,
        *,
        timeout: float,
        allowed_steps: Collection[str] = (),
    ) -> None:
        self.models = {name: Model(name) for name in names}
        self._backend = backend
        self._metrics = metrics
        self._timeout = timeout
        self._allowed_steps = allowed_steps
        self._was_ready = asyncio.Event()
        self._locks = {name: asyncio.Lock() for name in self.models}

    def replace(self, names: Iterable[str]) -> None:
        """Serves these models from now on; those that were served before stay as they are."""
        wanted = set(names)
        for name in self.models.keys() - wanted:
            del self.models[name], self._locks[name]
            self._metrics.forget_model(name)
        for name in wanted - self.models.keys():
            self.models[name] = Model(name)
            self._locks[name] = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether every model can answer: it has a version, and its backend was there a moment ago."""
        return all(model.backend_up and model.default for model in self.models.values())

    async def wait_ready(self, timeout: float) -> None:
        """Returns when every model can answer, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._was_ready.wait(), timeout)

    def model(self, name: str) -> Model:
        """The model called `name`; an empty name means the only one there is. ModelNotFound names what is wrong."""
        if not name:
            if len(self.models) == 1:
                return next(iter(self.models.values()))
            raise ModelNotFound("the request names no model, and the gateway serves more than one", field="model")
        if name not in self.models:
            raise ModelNotFound(f"the gateway serves no model called {name[:100]!r}", field="model")
        return self.models[name]

    async def labelled(self, name: str, label: str) -> int:
        """The version that a served model's label points at, as of the last poll; BackendRejected if there is none."""
        model = self.models[name]
        version = model.labels.get(label)
        if version is None:
            version = await self._backend.labelled(name, label)
            if version not in model.versions:
                # It points at what has come since the last poll.
                await self.refresh(name)
            model.labels[label] = version
        return version

    async def watch(self, interval: float) -> None:
        """Keeps every model up to date, asking every `interval` seconds, until cancelled."""
        while True:
            await asyncio.gather(*(self.refresh(name) for name in self.models))
            await asyncio.sleep(interval)

    async def refresh(self, name: str) -> None:
        """Asks the backend for the model's versions and takes in what has changed. Never raises a GatewayError."""
        model = self.models.get(name)
        if model is None:
            return
        async with self._locks[name]:
            model.labels = {}
            try:
                reported = await self._backend.versions(name)
            except GatewayError as error:
                if model.backend_up:
                    log.warning("backend lost", model=name, message=error.message)
                # The versions stay: should the backend be back before the next poll, calls go through at once.
                model.backend_up, model.stale = False, True
            else:
                model.backend_up = True
                await self._take_in(model, reported)
            if self.models.get(name) is not model:
                return
            if self.ready:
                self._was_ready.set()
            self._metrics.backend_up.labels(name).set(model.backend_up)
            self._metrics.model_version.labels(name).set(model.default.version if model.default else 0)
            refused = sum(version.state is State.REFUSED for version in model.versions.values())
            self._metrics.refused_versions.labels(name).set(refused)

    async def _take_in(self, model: Model, reported: list[BackendVersion]) -> None:
        stale, model.stale = model.stale, False
        for version in reported:
            known = model.versions.get(version.number)
            settled = known is not None and known.state in (State.AVAILABLE, State.REFUSED)
            if not version.available:
                state = State.LOADING if version.loading else State.UNAVAILABLE
                model.versions[version.number] = Version(version.number, state, version.detail)
            elif stale or not settled:
                inspected = await self._inspect(model.name, version.number)
                if settled and inspected.state is State.LOADING:
                    # The backend is too busy to be asked, which is no reason to stop asking it what callers ask.
                    model.stale = True
                    continue
                model.versions[version.number] = inspected
                (log.error if inspected.state is State.REFUSED else log.info)(
                    "version",
                    model=model.name,
                    version=version.number,
                    state=inspected.state.value,
                    message=inspected.detail,
                )
        for number in model.versions.keys() - {version.number for version in reported}:
            del model.versions[number]
            log.info("version gone", model=model.name, version=number)

    async def _inspect(self, model: str, number: int) -> Version:
        """Reads a version's signatures and contract and replays its golden vectors."""
        try:
            signatures = await self._backend.signatures(model, number)
            if contracts.SIGNATURE not in signatures:
                return Version(number, State.AVAILABLE, servable=Servable(model, number, signatures))
            contract = await self._read_contract(model, number)
            check(contract, signatures)
            pipeline = await asyncio.to_thread(_tried_pipeline, contract, self._allowed_steps)
        except (BackendUnavailable, DeadlineExceeded, ModelNotFound) as error:
            return Version(number, State.LOADING, error.message)
        except (GatewayError, ContractError) as error:
            return Version(number, State.REFUSED, str(error))
        callable_signatures = {name: value for name, value in signatures.items() if name != contracts.SIGNATURE}
        servable = Servable(model, number, callable_signatures, contract, pipeline)
        return Version(number, State.AVAILABLE, servable=servable)

    async def _read_contract(self, model: str, number: int) -> Contract:
        wanted = np.array([str(contracts.SCHEMA_VERSION).encode()], object)
        answer = await self._backend.predict(
            model, number, contracts.SIGNATURE, {contracts.VERSIONS_INPUT: wanted}, self._timeout
        )
        texts = answer.get(contracts.JSON_OUTPUT)
        if texts is None or texts.dtype != object or texts.size != 1:
            raise ContractError(f"the signature `{contracts.SIGNATURE}` does not answer with one string")
        if not texts.item():
            raise ContractError(f"the contract is not to be had in version {contracts.SCHEMA_VERSION} of its schema")
        return Contract.parse(texts.item())


def _tried_pipeline(contract: Contract, allowed_steps: Collection[str]) -> Pipeline:
    """The contract's pipeline, which may import code; ContractError unless it reproduces the golden vectors."""
    pipeline = contract.pipeline(allowed_steps)
    contract.replay_golden(pipeline)
    return pipeline


def check(contract: Contract, signatures: Mapping[str, Signature]) -> None:
    """ContractError unless the model has the signature, input and output that its contract speaks of."""
    signature = signatures.get(contract.signature)
    if signature is None:
        raise ContractError(f"the contract names the signature {contract.signature!r}, which the model does not have")
    spec = signature.inputs.get(contract.input.name)
    if spec is None or len(signature.inputs) != 1:
        raise ContractError(
            f"the contract names the only input {contract.input.name!r}; {contract.signature!r} takes "
            f"{sorted(signature.inputs)}"
        )
    fits = spec.shape is None or (
        len(spec.shape) == len(contract.input.shape) + 1
        and spec.batched
        and all(size in (-1, wanted) for size, wanted in zip(spec.shape[1:], contract.input.shape, strict=True))
    )
    if type_name(spec.dtype) != contract.input.dtype or not fits:
        raise ContractError(
            f"the contract's input is {contract.input.dtype} {list(contract.input.shape)} for each instance, "
            f"the model's {spec}"
        )
    output = contract.postprocessing.output
    if output is not None and output not in signature.outputs:
        raise ContractError(f"the contract names the output {output!r}; there are {sorted(signature.outputs)}")
