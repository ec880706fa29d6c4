"""Wires the gateway together, runs it, and takes it down in order."""

import asyncio
import secrets
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from starlette.types import ASGIApp

from gateway import configuration, console, logs, ops, servicers
from gateway.auth.keys import KeysFileError
from gateway.backend.tf_serving import TensorFlowServing
from gateway.capture.records import CaptureError
from gateway.catalog import Catalog
from gateway.certificates import CertificateError, Certificates
from gateway.envoy_metrics import EnvoyMetrics
from gateway.guards import Guards
from gateway.interceptors.access_log import AccessLog
from gateway.interceptors.call_metrics import CallMetrics
from gateway.interceptors.chain import Chain
from gateway.interceptors.interceptor import Interceptor
from gateway.interceptors.request_id import RequestId
from gateway.metrics import Metrics
from gateway.parts import Part, Service, parts_of
from gateway.predictor import Predictor
from gateway.receipts import Receipts
from gateway.reload import Reloader
from gateway.response_cache import ResponseCache
from gateway.rest.application import RestApplication
from gateway.rest.service import rest_application, with_cors
from gateway.rollout.files import PlaceError
from gateway.servicers import inference, open_inference, tf_serving
from gateway.servicers.health import Health
from gateway.servicers.inference import Inference
from gateway.servicers.open_inference import OpenInference
from gateway.servicers.tf_serving import PassThrough
from gateway.settings import Settings
from gateway.tracing.errors import TracingError
from gateway.tracing.wanted import wanted
from gateway.upstream import BatchLimits, Upstream
from gateway.workers.member import Member
from serving import garbage, heap
from serving.transport import reflection
from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer
from serving.transport.http import HttpServer
from serving.wire import open_inference_pb2, tensorflow_serving_pb2
from tensorgate.v1 import inference_service_pb2

if TYPE_CHECKING:
    from gateway.tracing.tracing import Tracing

log = structlog.get_logger("gateway")

# Seconds between two looks at files that may have changed, and at what health should say.
WATCH_INTERVAL = 1.0
# Seconds to wait for the models before the ports open without them.
FIRST_LOOK = 0.3
# The transport takes this many times the largest request, so that one that is too large gets a typed answer; beyond
# that it is cut off unread.
OVERSIZE_FACTOR = 4


async def run(
    settings: Settings, load: Callable[[], Settings], backend_type: type[TensorFlowServing] = TensorFlowServing
) -> int:
    """Sets the log up and serves; returns the exit status, 1 after a line on stderr if the gateway cannot start.

    `load` reads the settings again; predictions are a `backend_type`'s to make.
    """
    heap.share()
    member = Member.current()
    logs.configure(settings.log, **({"worker": member.index} if member else {}))
    try:
        await serve(settings, load, member, backend_type)
    except (AddressTakenError, CaptureError, CertificateError, KeysFileError, PlaceError, TracingError) as error:
        return _cannot(error)
    return 0


def check(settings: Settings) -> int:
    """Reads the files that the settings name; returns the exit status, 1 after a line on stderr if one is no good."""
    logs.configure(settings.log)
    try:
        Guards(settings, Metrics())
    except (CertificateError, KeysFileError) as error:
        return _cannot(error)
    sys.stdout.write("the settings are good\n")
    return 0


def _cannot(error: Exception) -> int:
    hint = "; make one with `python -m gateway keys create`" if isinstance(error, KeysFileError) else ""
    sys.stderr.write(f"gateway: {error}{hint}\n")
    return 1


async def serve(
    settings: Settings,
    load: Callable[[], Settings],
    member: Member | None = None,
    backend_type: type[TensorFlowServing] = TensorFlowServing,
) -> None:
    """Runs the gateway until SIGTERM or SIGINT, alone or as one of several; `load` reads the settings again.

    AddressTakenError, CaptureError, KeysFileError, CertificateError or PlaceError if it cannot start.
    """
    stopping = asyncio.Event()
    metrics = Metrics()
    guards = Guards(settings, metrics)
    tracing = _tracing(metrics)
    backend = backend_type(settings.backend, metrics, [tracing.upstream] if tracing else [])
    catalog = Catalog(
        settings.models,
        backend,
        metrics,
        timeout=settings.backend.timeout,
        allowed_steps=settings.preprocessing.allowed_steps,
    )
    receipts = _receipts(settings)
    parts = parts_of(settings, catalog, receipts, metrics, busy=lambda: guards.admission.waiting > 0)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="preprocess")
    upstream = _upstream(settings, backend, metrics, tracing)
    predictor = Predictor(
        catalog,
        upstream,
        receipts,
        metrics,
        executor,
        max_instances=settings.limits.max_instances,
        observers=[observer for part in parts for observer in part.observers],
    )
    predicting, pass_through = _predicting(
        settings,
        predictor=predictor,
        catalog=catalog,
        upstream=upstream,
        metrics=metrics,
        ready=lambda: catalog.ready and not stopping.is_set(),
    )
    services = [*predicting, *(service for part in parts for service in part.services)]
    health = Health(
        catalog,
        tuple(name for service in services for name in service.names),
        models=settings.auth.health_names_models,
    )
    interceptors = _interceptors(settings, guards, metrics, tracing)
    server = _server(settings, interceptors, services, health, stopping)
    rest = rest_application(
        settings,
        Chain(interceptors, max_request_bytes=settings.limits.max_request_bytes),
        services=[(service.file, service.servicer) for service in services],
        pass_through=pass_through,
        predictor=predictor,
        catalog=catalog,
        executor=executor,
    )
    pages = console.routes() if rest and settings.rest.console else ()
    pages_and_calls = ops.application(
        catalog, metrics, stopping.is_set, pages=pages, rest=with_cors(rest, settings), group=member
    )
    http = _http_server(settings, pages_and_calls, guards.certificates, member)
    port = _bind(server, settings.listen, guards.certificates)

    server.on_stop_signal(stopping.set)
    loop = asyncio.get_running_loop()
    watching = loop.create_task(catalog.watch(settings.backend.poll_interval))
    # A backend that is there is known before the first call comes; one that is not must not keep the ports closed.
    await catalog.wait_ready(FIRST_LOOK)
    await asyncio.gather(*(part.start() for part in parts))
    await health.publish()
    guards.start()
    reloader = Reloader(
        settings, load, configuration.file(), [guards.replace, lambda _, new: catalog.replace(new.models)]
    )
    server.on_reload_signal(reloader.ask)
    background = [
        watching,
        loop.create_task(_publish(health, metrics)),
        loop.create_task(guards.watch(WATCH_INTERVAL)),
        loop.create_task(reloader.watch(WATCH_INTERVAL)),
        *(loop.create_task(part.run()) for part in parts),
    ]
    http_task = loop.create_task(http.run_until_stopped())
    await server.start()
    if isinstance(server, EnvoyServer):
        background.append(loop.create_task(EnvoyMetrics(server.stats, metrics.registry).watch()))
    if member:
        own = partial(ops.state, catalog, stopping.is_set)
        background.append(loop.create_task(member.serve(stopping.set, metrics.registry, own)))
    garbage.settle()
    log.info(
        "worker serving" if member else "serving",
        transport=settings.transport,
        grpc=_with_port(settings.listen, port),
        http=_with_port(settings.http, http.port),
        models=list(settings.models),
        backend=settings.backend.address,
        auth=settings.auth.enabled,
        tls=guards.certificates is not None,
        **_pages(settings, server),
    )

    await stopping.wait()
    await _drain(settings, health, server, rest)
    for task in background:
        task.cancel()
    http.should_exit = True
    await asyncio.gather(http_task, *background, return_exceptions=True)
    await _close(parts, guards, backend, tracing)
    executor.shutdown(cancel_futures=True)
    log.info("stopped")


def _predicting(
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
        Service(
            [inference.NAME],
            inference_service_pb2.DESCRIPTOR,
            ours.register,
            ours,
        ),
        Service(
            [tf_serving.PREDICTION, tf_serving.MODEL],
            tensorflow_serving_pb2.DESCRIPTOR,
            pass_through.register,
            pass_through,
        ),
        Service(
            [open_inference.NAME],
            open_inference_pb2.DESCRIPTOR,
            open_.register,
            open_,
        ),
    ], pass_through


def _server(
    settings: Settings,
    interceptors: Sequence[Interceptor],
    services: Sequence[Service],
    health: Health,
    stopping: asyncio.Event,
) -> GrpcAioServer | EnvoyServer:
    registrations = [
        *(service.register for service in services),
        partial(add_HealthServicer_to_server, health),
    ]
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


def _upstream(settings: Settings, backend: TensorFlowServing, metrics: Metrics, tracing: "Tracing | None") -> Upstream:
    cache = ResponseCache(settings.backend.cache_bytes) if settings.backend.cache_bytes else None
    limits = BatchLimits(**settings.batching.model_dump())
    return Upstream(backend, metrics, limits, cache, tracing.batches if tracing else None)


def _tracing(metrics: Metrics) -> "Tracing | None":
    if not wanted():
        return None
    # Only where it is wanted: the SDK takes time and memory to import.
    from gateway.tracing.tracing import Tracing  # noqa: PLC0415

    tracing = Tracing()
    tracing.observe(metrics)
    return tracing


def _interceptors(settings: Settings, guards: Guards, metrics: Metrics, tracing: "Tracing | None") -> list[Interceptor]:
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


def _server_type(settings: Settings) -> Callable[..., GrpcAioServer | EnvoyServer]:
    if settings.transport == "envoy":
        return EnvoyServer
    return partial(GrpcAioServer, options=(("grpc.so_reuseport", int(settings.workers > 1)),))


def _pages(settings: Settings, server: GrpcAioServer | EnvoyServer) -> dict[str, str]:
    """What the log says of Envoy's own pages, if there are any."""
    if settings.envoy.admin and isinstance(server, EnvoyServer) and server.admin_port:
        return {"envoy": _with_port(settings.envoy.admin, server.admin_port)}
    return {}


def _bind(server: GrpcAioServer | EnvoyServer, address: str, tls: Certificates | None) -> int:
    if tls and isinstance(server, EnvoyServer):
        tls.on_change = server.replace_certificates
    return server.bind(address, tls.grpc_credentials() if tls else None)


def _http_server(settings: Settings, app: ASGIApp, tls: Certificates | None, member: Member | None) -> HttpServer:
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


async def _drain(
    settings: Settings, servicer: Health, server: GrpcAioServer | EnvoyServer, rest: RestApplication | None
) -> None:
    log.info("draining", delay=settings.drain.delay, grace=settings.drain.grace)
    await servicer.enter_graceful_shutdown()
    await asyncio.sleep(settings.drain.delay)
    await servicer.end_watches()
    if rest:
        rest.stop()
    await server.stop(settings.drain.grace)


async def _close(parts: Sequence[Part], guards: Guards, backend: TensorFlowServing, tracing: "Tracing | None") -> None:
    await asyncio.gather(*(part.close() for part in parts))
    await guards.close()
    await backend.close()
    if tracing:
        await tracing.close()


async def _publish(servicer: Health, metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        await servicer.publish()
        metrics.tallies.flush()


def _receipts(settings: Settings) -> Receipts:
    if settings.receipt_key is None:
        log.warning("receipt_key is not set: prediction ids cannot be checked after a restart")
        key = secrets.token_bytes(32)
    else:
        key = settings.receipt_key.get_secret_value().encode()
    fallbacks = (each.get_secret_value().encode() for each in settings.receipt_key_fallbacks)
    return Receipts(key, *fallbacks, lifetime=settings.receipt_days * 86400)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
