"""The console: a page that tries the models and shows how they do. It calls the same methods as everybody else."""

from importlib import resources

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_FILES = (
    "index.html",
    "console.css",
    "console.js",
    "calls.js",
    "charts.js",
    "drift.js",
    "metrics.js",
    "quality.js",
    "rollout.js",
    "traffic.js",
    "try.js",
)
# Nothing comes from elsewhere, and nothing in the page runs that is not one of its files.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def routes() -> list[BaseRoute]:
    """The page under /console/, for the HTTP port that also answers its calls."""
    files = {name: (resources.files(__name__) / name).read_bytes() for name in _FILES}

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return Response("there is no such file\n", status_code=404, media_type="text/plain", headers=_HEADERS)
        return Response(files[name], media_type=_TYPES[name.rpartition(".")[2]], headers=_HEADERS)

    async def to_page(_request: Request) -> Response:
        return RedirectResponse("console/")

    return [
        Route("/console", to_page),
        Route("/console/{name}", file),
        Route("/console/", file),
    ]
