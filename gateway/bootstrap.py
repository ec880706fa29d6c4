"""Puts the gateway together, runs it, and takes it down in order."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway import configuration, console, logs, ops, wiring
from gateway.auth.keys import KeysFileError
from gateway.backend.tf_serving import TensorFlowServing
from gateway.capture.records import CaptureError
from gateway.catalog import Catalog
from gateway.certificates import CertificateError
from gateway.envoy_metrics import EnvoyMetrics
from gateway.guards import Guards
from gateway.interceptors.chain import Chain
from gateway.metrics import Metrics
from gateway.parts import Part, parts_of
from gateway.predictor import Predictor
from gateway.reload import Reloader
from gateway.rest.application import RestApplication
from gateway.rest.service import rest_application, with_cors
from gateway.rollout.files import PlaceError
from gateway.servicers.health import Health
from gateway.settings import Settings
from gateway.tracing.errors import TracingError
from gateway.workers.member import Member
from serving import garbage, heap
from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.server import EnvoyServer

if TYPE_CHECKING:
    from gateway.tracing.tracing import Tracing

log = structlog.get_logger("gateway")

# Seconds between two looks at files that may have changed, and at what health should say.
WATCH_INTERVAL = 1.0
# Seconds to wait for the models before the ports open without them.
FIRST_LOOK = 0.3


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
    tracing = wiring.new_tracing(metrics)
    backend = backend_type(settings.backend, metrics, [tracing.upstream] if tracing else [])
    catalog = Catalog(
        settings.models,
        backend,
        metrics,
        timeout=settings.backend.timeout,
        allowed_steps=settings.preprocessing.allowed_steps,
    )
    receipts = wiring.new_receipts(settings)
    parts = parts_of(settings, catalog, receipts, metrics, busy=lambda: guards.admission.waiting > 0)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="preprocess")
    upstream = wiring.new_upstream(settings, backend, metrics, tracing)
    predictor = Predictor(
        catalog,
        upstream,
        receipts,
        metrics,
        executor,
        max_instances=settings.limits.max_instances,
        observers=[observer for part in parts for observer in part.observers],
    )
    predicting, pass_through = wiring.predicting_services(
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
    interceptors = wiring.new_interceptors(settings, guards, metrics, tracing)
    server = wiring.grpc_server(settings, interceptors, services, health, stopping)
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
    http = wiring.http_server(settings, pages_and_calls, guards.certificates, member)
    port = wiring.bind(server, settings.listen, guards.certificates)

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


def _pages(settings: Settings, server: wiring.Server) -> dict[str, str]:
    """What the log says of Envoy's own pages, if there are any."""
    if settings.envoy.admin and isinstance(server, EnvoyServer) and server.admin_port:
        return {"envoy": _with_port(settings.envoy.admin, server.admin_port)}
    return {}


async def _drain(settings: Settings, servicer: Health, server: wiring.Server, rest: RestApplication | None) -> None:
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


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
