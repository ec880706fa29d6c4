"""One call as the interceptors and the servicers see it, whatever transport carries it."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from gateway.auth.principal import ANONYMOUS, Principal
from gateway.split import Variant

STICKY_KEY = "x-tensorgate-sticky-key"


class Call:
    """What is known of a call so far; interceptors and servicers fill it in as the call goes on."""

    # How every call begins; here, as most calls end with most of it unchanged.
    request_id = ""
    span: Any = None
    """OpenTelemetry's span of the call, where there are traces."""
    trace_id = ""
    exemplar: dict[str, str] | None = None
    """What histograms keep of the call, if its trace is kept."""
    streaming = False
    messages = 0
    """Messages that a streaming caller has sent so far."""
    request_bytes = 0
    principal: Principal = ANONYMOUS
    model = ""
    """As far as the gateway serves it: what a caller merely claims never becomes a metric's label."""
    version = 0
    variant = ""
    """What the version was to a roll-out, where it was not stable."""
    instances = 0
    bulk = False
    """Whether the call waits until nothing else does when the gateway is full."""
    on_model: Callable[["Call", str], Awaitable[None] | None] | None = None
    """Who counts what models are asked."""
    failed_instances = 0
    code = "OK"
    """The name of the status code that the call ended with."""
    reason = ""
    message = ""
    failure: Exception | None = None
    """What the call failed with."""

    def __init__(
        self,
        method: str,
        metadata: Mapping[str, str],
        peer: Callable[[], str],
        deadline: float | None,
        auth_context: Callable[[], Mapping[str, Iterable[bytes]]] = dict,
    ) -> None:
        self.method = method
        """The full name, e.g. /tensorgate.v1.InferenceService/Predict."""
        self.metadata = metadata
        """By key; values of keys in -bin, which are bytes, are nobody's business here."""
        self.peer = peer
        """Where the call comes from, in gRPC's words; asked if needed."""
        self.deadline = deadline
        """When the caller gives up, on the clock of time.monotonic; None if never."""
        self.auth_context = auth_context
        """What the transport knows of the peer, its certificate above all, by gRPC's names; asked if needed."""
        self.started = time.perf_counter()

    def enter(self, model: str) -> Awaitable[None] | None:
        """Says which of the gateway's models a message is for; Overloaded if the model has had its share.

        What takes time returns an awaitable.
        """
        self.model = model
        return None if self.on_model is None else self.on_model(self, model)

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
