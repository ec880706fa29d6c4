"""The server that a program inside Envoy serves by."""

from collections.abc import Callable, Sequence

import grpc
import grpc.aio

from serving.transport.addresses import AddressTakenError
from serving.transport.asgi.application import GrpcApplication
from serving.transport.envoy.host import Host
from serving.transport.grpc_aio import Register


class EnvoyServer:
    """GrpcAioServer's counterpart, for a program that `launch` has put inside Envoy."""

    def __init__(
        self,
        registrations: Sequence[Register],
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        max_message_bytes: int = -1,
    ) -> None:
        self._host = Host.current()
        self._application = GrpcApplication(
            registrations, interceptors=interceptors, max_message_bytes=max_message_bytes
        )

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:  # noqa: ARG002  # Envoy has its own
        """The port that Envoy has for `address`. AddressTakenError if it was not launched with it."""
        try:
            return self._host.port(address)
        except KeyError:
            raise AddressTakenError(f"Envoy was not told to listen on {address}") from None

    def on_stop_signal(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at SIGTERM and SIGINT."""
        self._host.on_stop_signal(callback)

    async def start(self) -> None:
        """Takes calls from now on."""
        await self._host.open(self._application)

    async def stop(self, grace: float) -> None:
        """Takes no more calls and waits up to `grace` seconds for those in flight; then they are cancelled."""
        await self._host.close()
        await self._application.stop(grace)
