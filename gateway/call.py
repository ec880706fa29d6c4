"""One call as the interceptors and the servicers see it, whatever transport carries it."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from gateway.auth.principal import ANONYMOUS, Principal
from gateway.split import Variant

STICKY_KEY = "x-tensorgate-sticky-key"


@dataclass(slots=True)
class Call:
    """What is known of a call so far; interceptors and servicers fill it in as the call goes on."""

    method: str
    """The full name, e.g. /tensorgate.v1.InferenceService/Predict."""
    metadata: Mapping[str, str]
    peer: str
    deadline: float | None
    """When the caller gives up, on the clock of time.monotonic; None if never."""
    auth_context: Callable[[], Mapping[str, Iterable[bytes]]] = dict
    """What the transport knows of the peer, its certificate above all, by gRPC's names; asked for only if needed."""
    started: float = field(default_factory=time.perf_counter)
    request_id: str = ""
    span: Any = None
    """OpenTelemetry's span of the call, where there are traces."""
    trace_id: str = ""
    exemplar: dict[str, str] | None = None
    """What histograms keep of the call, if its trace is kept."""
    streaming: bool = False
    messages: int = 0
    """Messages that a streaming caller has sent so far."""
    request_bytes: int = 0
    principal: Principal = ANONYMOUS
    model: str = ""
    """As far as the gateway serves it: what a caller merely claims never becomes a metric's label."""
    version: int = 0
    variant: str = ""
    """What the version was to a roll-out, where it was not stable."""
    instances: int = 0
    bulk: bool = False
    """Whether the call waits until nothing else does when the gateway is full."""
    on_model: Callable[["Call", str], Awaitable[None]] | None = None
    """Who counts what models are asked."""
    failed_instances: int = 0
    code: str = "OK"
    """The name of the status code that the call ended with."""
    reason: str = ""
    message: str = ""
    failure: Exception | None = None
    """What the call failed with."""

    async def enter(self, model: str) -> None:
        """Says which of the gateway's models a message is for; Overloaded if the model has had its share."""
        self.model = model
        if self.on_model is not None:
            await self.on_model(self, model)

    @property
    def sticky_key(self) -> str:
        """What has the same version answer its calls again and again; empty if the caller does not mind."""
        return self.metadata.get(STICKY_KEY, "")

    def answered_by(self, version: int, variant: Variant) -> None:
        """Says which version answered."""
        self.version = version
        self.variant = "" if variant is Variant.STABLE else variant.name.lower()

    @property
    def seconds(self) -> float:
        """How long the call has taken so far."""
        return time.perf_counter() - self.started

    def deadline_within(self, seconds: float) -> float:
        """The caller's deadline, or `seconds` from now if that is earlier."""
        deadline = time.monotonic() + seconds
        return deadline if self.deadline is None else min(deadline, self.deadline)


current_call: ContextVar[Call] = ContextVar("current_call")
