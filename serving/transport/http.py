"""An HTTP server for an ASGI application, in the event loop of a gRPC server and stopped with it."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from serving.transport.addresses import AddressTakenError


class HttpServer(uvicorn.Server):
    """uvicorn on a host and a port, a free one for 0; the process's signals are not its business.

    After `should_exit` is set requests in flight have `grace` seconds. Plain text unless there is `tls`. Raises
    AddressTakenError.
    """

    def __init__(
        self, app: ASGIApp, host: str, port: int, *, grace: float | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=None if grace is None else round(grace),
        )
        if tls:
            config.ssl_context_factory = lambda *_: tls
        super().__init__(config)
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
        self.port: int = self._socket.getsockname()[1]

    async def run_until_stopped(self) -> None:
        """Serves until `should_exit` is set."""
        await self.serve([self._socket])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to the process."""
        yield
