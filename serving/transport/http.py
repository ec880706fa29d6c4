"""An HTTP server for an ASGI application, in the event loop of a gRPC server and stopped with it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.transport.addresses import AddressTakenError

# Seconds within which a connection must ask something, from its start or from the end of an answer.
HEADERS_TIMEOUT = 15.0
# Requests that may wait on one connection for the answers before theirs.
PIPELINED = 16


class _Protocol(HttpToolsProtocol):
    """uvicorn's, and a connection that begins no request, or too many at once, does not stay."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        limit = self.config.limit_concurrency
        if limit is not None and len(self.connections) >= limit:
            transport.abort()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) < PIPELINED:
            super().on_headers_complete()
        else:
            self.transport.abort()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(HEADERS_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class HttpServer(uvicorn.Server):
    """uvicorn on a host and a port, a free one for 0, or on a socket that is `listening`.

    The process's signals are not its business. After `should_exit` is set requests in flight have `grace` seconds.
    Connections beyond `max_connections` are closed as they come. Plain text unless there is `tls`. Raises
    AddressTakenError.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        grace: float | None = None,
        max_connections: int | None = None,
        listening: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            # One more, so that uvicorn does not refuse what we have let in.
            limit_concurrency=None if max_connections is None else max_connections + 1,
            log_config=None,
            # Of what strangers send, or too many of them, nobody needs a line each.
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=None if grace is None else round(grace),
        )
        if tls:
            config.ssl_context_factory = lambda *_: tls
        super().__init__(config)
        if listening is not None:
            self._socket = listening
            self.port: int = listening.getsockname()[1]
            return
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            # From now on callers wait, and are not turned away.
            self._socket.listen()
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise AddressTakenError.of(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") from error
        self.port = self._socket.getsockname()[1]

    async def run_until_stopped(self) -> None:
        """Serves until `should_exit` is set."""
        await self.serve([self._socket])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to the process."""
        yield
