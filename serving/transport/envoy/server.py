"""The server that a program inside Envoy serves by."""

import signal
from collections.abc import Callable, Sequence

import grpc
import grpc.aio

from serving.transport.addresses import AddressTakenError
from serving.transport.asgi.application import GrpcApplication
from serving.transport.envoy.host import Host
from serving.transport.envoy.options import Tls
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

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """The port that Envoy has for `address`.

        AddressTakenError if it was not launched with it, or not with TLS where there are `credentials`, or the reverse.
        """
        try:
            port = self._host.port(address)
        except KeyError:
            raise AddressTakenError(f"Envoy was not told to listen on {address}") from None
        if self._host.encrypted(address) != (credentials is not None):
            how = "with TLS" if credentials else "in plain text"
            raise AddressTakenError(f"Envoy was not told to listen on {address} {how}")
        return port

    @property
    def admin_port(self) -> int | None:
        """The port of Envoy's own pages, where they were asked for."""
        return self._host.admin_port

    async def stats(self, pattern: str) -> dict[str, float]:
        """Envoy's counters and gauges whose names match, in part, a regular expression. OSError or HTTPException."""
        return await self._host.stats(pattern)

    def replace_certificates(self, tls: Tls) -> None:
        """Takes other certificates for connections from now on. OSError if they cannot be written down."""
        self._host.replace_certificates(tls)

    def on_stop_signal(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._host.on_signal(number, callback)

    def on_reload_signal(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at SIGHUP."""
        self._host.on_signal(signal.SIGHUP, callback)

    async def start(self) -> None:
        """Takes calls from now on."""
        await self._host.open(self._application)

    async def stop(self, grace: float) -> None:
        """Takes no more calls and waits up to `grace` seconds for those in flight; then they are cancelled."""
        await self._host.close()
        await self._application.stop(grace)
