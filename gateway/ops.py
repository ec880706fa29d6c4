"""The HTTP port: /metrics, /livez and /readyz for those who operate the gateway, and what else is to be there."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from gateway.catalog import Catalog
from gateway.metrics import Metrics


class Group(Protocol):
    """The processes of which this is one."""

    async def metrics(self) -> Any:
        """All that they have measured, as a registry; OSError if nobody knows."""

    async def state(self) -> dict[str, Any]:
        """`state` of all; OSError if nobody knows."""


def state(catalog: Catalog, draining: Callable[[], bool]) -> dict[str, Any]:
    """What /readyz says of this process."""
    models = {
        name: {"version": model.default.version if model.default else 0, "backend_up": model.backend_up}
        for name, model in catalog.models.items()
    }
    return {"ready": catalog.ready and not draining(), "draining": draining(), "models": models}


def application(
    catalog: Catalog,
    metrics: Metrics,
    draining: Callable[[], bool],
    *,
    pages: Sequence[BaseRoute] = (),
    rest: ASGIApp | None = None,
    group: Group | None = None,
) -> Starlette:
    """The ASGI application, which speaks for its `group`, with `pages`; `rest` answers on all other paths."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        try:
            body = await group.state() if group else state(catalog, draining)
        except OSError as error:
            return PlainTextResponse(f"{error}\n", 503)
        return JSONResponse(body, status_code=200 if body["ready"] else 503)

    async def expose(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        try:
            registry = await group.metrics() if group else metrics.registry
        except OSError as error:
            return PlainTextResponse(f"{error}\n", 503)
        return Response(encode(registry), headers={"content-type": content_type})

    routes = [Route("/metrics", expose), Route("/livez", livez), Route("/readyz", readyz)]
    return Starlette(routes=[*routes, *pages, *([Mount("/", rest)] if rest else [])])
