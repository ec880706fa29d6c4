"""Puts JSON over HTTP together."""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import grpc.aio
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from gateway.call import STICKY_KEY
from gateway.catalog import Catalog
from gateway.predictor import Predictor
from gateway.rest import connect, openapi
from gateway.rest.application import RestApplication
from gateway.rest.context import TIMEOUT
from gateway.rest.tf_serving import TensorFlowServingJson
from gateway.servicers.tf_serving import PassThrough
from gateway.settings import Settings

_DOCS = Path(__file__).with_name("docs.html")
# What is in the page may run, and ask this gateway; nothing else is fetched from anywhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
_HEADERS = [
    "authorization",
    "connect-protocol-version",
    TIMEOUT,
    "content-type",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-priority",
    "x-request-id",
    STICKY_KEY,
]


def rest_application(
    settings: Settings,
    chain: grpc.aio.ServerInterceptor,
    *,
    services: Sequence[tuple[Any, Any]],
    pass_through: PassThrough,
    predictor: Predictor,
    catalog: Catalog,
    executor: Executor,
) -> RestApplication | None:
    """The application, if there is to be one; `services` are files' descriptors with their servicers."""
    if not settings.rest.enabled:
        return None
    json = TensorFlowServingJson(pass_through, predictor, catalog, executor, default_timeout=settings.backend.timeout)
    methods = connect.methods(services) | {
        f"/v1/models/{{model}}:{name}": getattr(json, name)
        for name in ("predict", "classify", "regress", "status", "metadata")
    }
    pages: dict[str, Response] = {}
    if settings.rest.docs:
        methods[openapi.PATH] = openapi.OpenApi(catalog, [file for file, _ in services]).document
        pages["/docs"] = HTMLResponse(
            _DOCS.read_text(encoding="utf-8"),
            headers={"content-security-policy": _POLICY, "x-content-type-options": "nosniff"},
        )
    return RestApplication(
        methods,
        pages,
        chain,
        max_request_bytes=settings.limits.max_request_bytes,
        max_bytes_in_flight=settings.limits.max_bytes_in_flight,
        body_timeout=settings.rest.body_timeout,
    )


def with_cors(application: ASGIApp | None, settings: Settings) -> ASGIApp | None:
    """The application, for browsers' pages of the origins that may call."""
    if application is None or not settings.rest.cors_origins:
        return application
    return CORSMiddleware(
        application,
        allow_origins=settings.rest.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=_HEADERS,
        expose_headers=["x-request-id", "retry-after"],
    )
