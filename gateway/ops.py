"""The HTTP port for those who operate the gateway: /metrics, /livez, /readyz."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.catalog import Catalog
from gateway.metrics import Metrics
from serving.transport.addresses import AddressTakenError


def application(catalog: Catalog, metrics: Metrics, draining: Callable[[], bool]) -> Starlette:
    """The ASGI application."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        models = {
            name: {"version": model.default.version if model.default else 0, "backend_up": model.backend_up}
            for name, model in catalog.models.items()
        }
        ready = catalog.ready and not draining()
        body = {"ready": ready, "draining": draining(), "models": models}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def expose(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(routes=[Route("/metrics", expose), Route("/livez", livez), Route("/readyz", readyz)])


class OpsServer(uvicorn.Server):
    """uvicorn beside the gRPC server, in the same event loop; the process's signals are not its business."""

    def __init__(self, app: Starlette, address: str) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, int(port)))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise AddressTakenError(f"cannot listen on {address}: {error}") from error
        self.port: int = self._socket.getsockname()[1]

    async def run_until_stopped(self) -> None:
        """Serves until `should_exit` is set."""
        await self.serve([self._socket])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to the gateway."""
        yield
