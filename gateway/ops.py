"""The HTTP port: /metrics, /livez and /readyz for those who operate the gateway, and what else is to be there."""

from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from gateway.catalog import Catalog
from gateway.metrics import Metrics


def application(
    catalog: Catalog,
    metrics: Metrics,
    draining: Callable[[], bool],
    *,
    pages: Sequence[BaseRoute] = (),
    rest: ASGIApp | None = None,
) -> Starlette:
    """The ASGI application, with `pages`; `rest` answers on all other paths."""

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

    routes = [Route("/metrics", expose), Route("/livez", livez), Route("/readyz", readyz)]
    return Starlette(routes=[*routes, *pages, *([Mount("/", rest)] if rest else [])])
