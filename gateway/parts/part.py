"""What the gateway does beside predicting comes in parts, each with its services, its eyes and its time of running."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc.aio

from gateway.observations import Observer


class Service(NamedTuple):
    """One or several gRPC services of a file, and who answers them."""

    names: Sequence[str]
    """Their full names."""
    file: Any
    """Their FileDescriptor."""
    register: Callable[[grpc.aio.Server], None]
    servicer: Any


class Part:
    """One part; what it does not need it leaves as it is here."""

    services: Sequence[Service] = ()
    observers: Sequence[Observer] = ()

    async def start(self) -> None:
        """Does what must be done before the first call."""

    async def run(self) -> None:
        """Runs until it is cancelled."""

    async def close(self) -> None:
        """Ends what is left after the last call."""
