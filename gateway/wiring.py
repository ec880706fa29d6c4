"""What the gateway is made of, each piece made by the settings; `bootstrap` puts them together."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from starlette.types import ASGIApp

from gateway import servicers
from gateway.backend.tf_serving import TensorFlowServing
from gateway.catalog import Catalog
from gateway.certificates import Certificates
from gateway.guards import Guards
from gateway.interceptors.access_log import AccessLog
from gateway.interceptors.call_metrics import CallMetrics
from gateway.interceptors.chain import Chain
from gateway.interceptors.interceptor import Interceptor
from gateway.interceptors.request_id import RequestId
from gateway.metrics import Metrics
from gateway.parts import Service
from gateway.predictor import Predictor
from gateway.receipts import Receipts
from gateway.response_cache import ResponseCache
from gateway.servicers import inference, open_inference, tf_serving
from gateway.servicers.health import Health
from gateway.servicers.inference import Inference
from gateway.servicers.open_inference import OpenInference
from gateway.servicers.tf_serving import PassThrough
from gateway.settings import Settings
from gateway.tracing.wanted import wanted
from gateway.upstream import BatchLimits, Upstream
from gateway.workers.member import Member
from serving.transport import reflection
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer
from serving.transport.http import HttpServer
from serving.wire import open_inference_pb2, tensorflow_serving_pb2
from tensorgate.v1 import inference_service_pb2

if TYPE_CHECKING:
    from gateway.tracing.tracing import Tracing

log = structlog.get_logger("gateway")

# The transport takes this many times the largest request, so that one that is too large gets a typed answer; beyond
# that it is cut off unread.
OVERSIZE_FACTOR = 4

Server: TypeAlias = GrpcAioServer | EnvoyServer


def new_tracing(metrics: Metrics) -> "Tracing | None":
    """Traces, if the environment wants them."""
    if not wanted():
        return None
    # Only where it is wanted: the SDK takes time and memory to import.
    from gateway.tracing.tracing import Tracing  # noqa: PLC0415

    tracing = Tracing()
    tracing.observe(metrics)
    return tracing


def new_receipts(settings: Settings) -> Receipts:
    """What signs predictions' ids; with a key of its own if none is set."""
    if settings.receipt_key is None:
        log.warning("receipt_key is not set: prediction ids cannot be checked after a restart")
        key = secrets.token_bytes(32)
    else:
        key = settings.receipt_key.get_secret_value().encode()
    fallbacks = (each.get_secret_value().encode() for each in settings.receipt_key_fallbacks)
    return Receipts(key, *fallbacks, lifetime=settings.receipt_days * 86400)


def new_upstream(
    settings: Settings, backend: TensorFlowServing, metrics: Metrics, tracing: "Tracing | None"
) -> Upstream:
    """The backend as the use cases call it, in batches and with a cache."""
    cache = ResponseCache(settings.backend.cache_bytes) if settings.backend.cache_bytes else None
    limits = BatchLimits(**settings.batching.model_dump())
    return Upstream(backend, metrics, limits, cache, tracing.batches if tracing else None)


def predicting_services(
    settings: Settings,
    *,
    predictor: Predictor,
    catalog: Catalog,
    upstream: Upstream,
    metrics: Metrics,
    ready: Callable[[], bool],
) -> tuple[list[Service], PassThrough]:
    """The services that predict, in each protocol."""
    timeout = settings.backend.timeout
    ours = Inference(
        predictor,
        catalog,
        metrics,
        default_timeout=timeout,
        max_stream_in_flight=settings.limits.max_stream_in_flight,
    )
    pass_through = PassThrough(catalog, upstream, predictor.observe, default_timeout=timeout)
    open_ = OpenInference(predictor, catalog, ready=ready, default_timeout=timeout)
    return [
        Service([inference.NAME], inference_service_pb2.DESCRIPTOR, ours.register, ours),
        Service(
            [tf_serving.PREDICTION, tf_serving.MODEL],
            tensorflow_serving_pb2.DESCRIPTOR,
            pass_through.register,
            pass_through,
        ),
        Service([open_inference.NAME], open_inference_pb2.DESCRIPTOR, open_.register, open_),
    ], pass_through


def new_interceptors(
    settings: Settings, guards: Guards, metrics: Metrics, tracing: "Tracing | None"
) -> list[Interceptor]:
    """Outermost first. A call that is refused has an id, a log line and a count all the same."""
    before: list[Interceptor] = [AccessLog(settings.log.calls_per_second), CallMetrics(metrics)]
    if tracing is None:
        return [RequestId(), *before, guards.authentication, guards.call_limits, guards.admission]
    return [
        RequestId(),
        tracing.calls,
        *before,
        tracing.around(guards.authentication, "auth"),
        guards.call_limits,
        tracing.around(guards.admission, "admission"),
    ]


def grpc_server(
    settings: Settings,
    interceptors: Sequence[Interceptor],
    services: Sequence[Service],
    health: Health,
    stopping: asyncio.Event,
) -> Server:
    """The server of all services, with health and reflection."""
    registrations = [*(service.register for service in services), partial(add_HealthServicer_to_server, health)]
    if settings.reflection:
        names = [*(name for service in services for name in service.names), servicers.health.NAME]
        files = [*(service.file for service in services), health_pb2.DESCRIPTOR]
        registrations.append(partial(reflection.register, services=names, files=files, until=stopping))
    chain = Chain(interceptors, max_request_bytes=settings.limits.max_request_bytes, exempt=(servicers.health.NAME,))
    return _server_type(settings)(
        registrations,
        interceptors=[chain],
        max_message_bytes=OVERSIZE_FACTOR * settings.limits.max_request_bytes,
    )


def _server_type(settings: Settings) -> Callable[..., Server]:
    if settings.transport == "envoy":
        return EnvoyServer
    return partial(GrpcAioServer, options=(("grpc.so_reuseport", int(settings.workers > 1)),))


def bind(server: Server, address: str, tls: Certificates | None) -> int:
    """Has the server take its address, and new certificates as they come; returns the port."""
    if tls and isinstance(server, EnvoyServer):
        tls.on_change = server.replace_certificates
    return server.bind(address, tls.grpc_credentials() if tls else None)


def http_server(settings: Settings, app: ASGIApp, tls: Certificates | None, member: Member | None) -> HttpServer:
    """The server of pages and REST; of several workers', one on a socket that they share."""
    host, _, port = settings.http.rpartition(":")
    return HttpServer(
        app,
        host.strip("[]"),
        int(port),
        grace=settings.drain.grace,
        max_connections=settings.rest.max_connections,
        listening=member.http() if member else None,
        tls=tls.http_context() if tls and settings.tls.http else None,
    )
