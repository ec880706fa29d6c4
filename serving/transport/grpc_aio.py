"""The transport of grpcio: grpc.aio."""

import asyncio
import signal
from collections.abc import Callable, Sequence

import grpc
import grpc.aio

from serving.transport.addresses import AddressTakenError

Register = Callable[[grpc.aio.Server], None]
"""Adds a servicer, as the generated `add_…Servicer_to_server` do."""


class GrpcAioServer:
    """A gRPC server; `options` are gRPC's channel arguments, and win over those set here."""

    def __init__(
        self,
        registrations: Sequence[Register],
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        max_message_bytes: int = -1,
        options: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        self._server = grpc.aio.server(
            interceptors=interceptors,
            options=(
                # The first one of a name counts.
                *options,
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Without this a second server could take the same port, and each would get half of the calls.
                ("grpc.so_reuseport", 0),
                # Clients may keep idle connections open by pings, as load balancers do.
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                # A connection that says nothing for so long, not even HTTP/2's greeting, is closed.
                ("grpc.server_handshake_timeout_ms", 20_000),
            ),
        )
        for register in registrations:
            register(self._server)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listens on `host:port` or `unix:path`, in plain text unless there are `credentials`.

        Returns the port, a free one for 0. Raises AddressTakenError.
        """
        try:
            if credentials:
                return int(self._server.add_secure_port(address, credentials))
            return int(self._server.add_insecure_port(address))
        except RuntimeError as error:
            blame = ", or key and certificate do not fit" if credentials else ""
            raise AddressTakenError.of(address, blame) from error

    def on_stop_signal(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at SIGTERM and SIGINT; to be said in the event loop that runs in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, callback)

    def on_reload_signal(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at SIGHUP; to be said likewise."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, callback)

    async def start(self) -> None:
        """Takes calls from now on."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Takes no more calls and waits up to `grace` seconds for those in flight; then they are cancelled."""
        await self._server.stop(grace)
