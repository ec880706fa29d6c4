"""Wires the gateway together, runs it, and takes it down in order."""

import asyncio
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from gateway import configuration, logs
from gateway.auth.keys import KeysFileError
from gateway.backend.tf_serving import TensorFlowServing
from gateway.catalog import Catalog
from gateway.certificates import CertificateError, Certificates
from gateway.guards import Guards
from gateway.interceptors.access_log import AccessLog
from gateway.interceptors.call_metrics import CallMetrics
from gateway.interceptors.chain import Chain
from gateway.interceptors.interceptor import Interceptor
from gateway.interceptors.request_id import RequestId
from gateway.metrics import Metrics
from gateway.ops import application
from gateway.predictor import Predictor
from gateway.receipts import Receipts
from gateway.reload import Reloader
from gateway.response_cache import ResponseCache
from gateway.rollout.files import PlaceError
from gateway.rollout.setup import rollouts_of
from gateway.servicers import health, inference, open_inference, rollouts, tf_serving
from gateway.servicers.health import Health
from gateway.servicers.inference import Inference
from gateway.servicers.open_inference import OpenInference
from gateway.servicers.rollouts import RolloutServicer
from gateway.servicers.tf_serving import PassThrough
from gateway.settings import Settings
from gateway.upstream import BatchLimits, Upstream
from serving.transport import reflection
from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer
from serving.transport.http import HttpServer
from serving.wire import open_inference_pb2, tensorflow_serving_pb2
from serving.wire.open_inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from tensorgate.v1 import inference_service_pb2, rollout_service_pb2
from tensorgate.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from tensorgate.v1.rollout_service_pb2_grpc import add_RolloutServiceServicer_to_server

log = structlog.get_logger("gateway")

# Seconds between two looks at files that may have changed, and at what health should say.
WATCH_INTERVAL = 1.0
# Seconds to wait for the models before the ports open without them.
FIRST_LOOK = 0.3
# The transport takes this many times the largest request, so that one that is too large gets a typed answer; beyond
# that it is cut off unread.
OVERSIZE_FACTOR = 4
# Of every service on the port, for reflection.
FILES = tuple(
    module.DESCRIPTOR
    for module in (inference_service_pb2, rollout_service_pb2, open_inference_pb2, tensorflow_serving_pb2, health_pb2)
)


async def run(settings: Settings, load: Callable[[], Settings]) -> int:
    """Sets the log up and serves; returns the exit status, 1 after a line on stderr if the gateway cannot start.

    `load` reads the settings again.
    """
    logs.configure(settings.log)
    try:
        await serve(settings, load)
    except (AddressTakenError, CertificateError, KeysFileError, PlaceError) as error:
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


async def serve(settings: Settings, load: Callable[[], Settings]) -> None:  # noqa: PLR0915  # all parts, in order
    """Runs the gateway until SIGTERM or SIGINT; `load` reads the settings again.

    AddressTakenError, KeysFileError, CertificateError or PlaceError if it cannot start.
    """
    stopping = asyncio.Event()
    metrics = Metrics()
    guards = Guards(settings, metrics)
    backend = TensorFlowServing(settings.backend, metrics)
    catalog = Catalog(settings.models, backend, metrics, timeout=settings.backend.timeout)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="preprocess")
    cache = ResponseCache(settings.backend.cache_bytes) if settings.backend.cache_bytes else None
    upstream = Upstream(backend, metrics, BatchLimits(**settings.batching.model_dump()), cache)
    # Copies for the shadow are in the way of calls that wait for their turn.
    planned = rollouts_of(settings.rollout, catalog, metrics, busy=lambda: guards.admission.waiting > 0)
    predictor = Predictor(
        catalog,
        upstream,
        Receipts(_receipt_key(settings)),
        metrics,
        executor,
        max_instances=settings.limits.max_instances,
        observers=[planned.observe] if planned else [],
    )
    timeout = settings.backend.timeout
    inference_servicer = Inference(
        predictor,
        catalog,
        metrics,
        default_timeout=timeout,
        max_stream_in_flight=settings.limits.max_stream_in_flight,
    )
    tf_serving_servicer = PassThrough(catalog, upstream, default_timeout=timeout)
    open_inference_servicer = OpenInference(
        predictor, catalog, ready=lambda: catalog.ready and not stopping.is_set(), default_timeout=timeout
    )
    services = (inference.NAME, rollouts.NAME, tf_serving.PREDICTION, tf_serving.MODEL, open_inference.NAME)
    health_servicer = Health(catalog, services, models=settings.auth.health_names_models)
    # Outermost first. A call that is refused has an id, a log line and a count all the same.
    interceptors: list[Interceptor] = [
        RequestId(),
        AccessLog(),
        CallMetrics(metrics),
        guards.authentication,
        guards.call_limits,
        guards.admission,
    ]
    chain = Chain(interceptors, max_request_bytes=settings.limits.max_request_bytes, exempt=(health.NAME,))
    server = _server_type(settings)(
        [
            partial(add_InferenceServiceServicer_to_server, inference_servicer),
            partial(add_RolloutServiceServicer_to_server, RolloutServicer(planned, catalog)),
            tf_serving_servicer.register,
            partial(add_GRPCInferenceServiceServicer_to_server, open_inference_servicer),
            partial(add_HealthServicer_to_server, health_servicer),
            *(
                [partial(reflection.register, services=(*services, health.NAME), files=FILES)]
                if settings.reflection
                else []
            ),
        ],
        interceptors=[chain],
        max_message_bytes=OVERSIZE_FACTOR * settings.limits.max_request_bytes,
    )
    tls = guards.certificates
    host, _, http_port = settings.http.rpartition(":")
    https = tls.http_context() if tls and settings.tls.http else None
    ops = HttpServer(application(catalog, metrics, stopping.is_set), host.strip("[]"), int(http_port), tls=https)
    port = _bind(server, settings.listen, tls)

    server.on_stop_signal(stopping.set)
    loop = asyncio.get_running_loop()
    watching = loop.create_task(catalog.watch(settings.backend.poll_interval))
    # A backend that is there is known before the first call comes; one that is not must not keep the ports closed.
    await catalog.wait_ready(FIRST_LOOK)
    if planned:
        await asyncio.gather(*(planned.look(name) for name in settings.models))
    await health_servicer.publish()
    guards.start()
    reloader = Reloader(
        settings, load, configuration.file(), [guards.replace, lambda _, new: catalog.replace(new.models)]
    )
    server.on_reload_signal(reloader.ask)
    background = [
        watching,
        loop.create_task(_publish_health(health_servicer)),
        loop.create_task(guards.watch(WATCH_INTERVAL)),
        loop.create_task(reloader.watch(WATCH_INTERVAL)),
        *([loop.create_task(planned.watch())] if planned else []),
    ]
    ops_task = loop.create_task(ops.run_until_stopped())
    await server.start()
    log.info(
        "serving",
        grpc=_with_port(settings.listen, port),
        http=_with_port(settings.http, ops.port),
        models=list(settings.models),
        backend=settings.backend.address,
        auth=settings.auth.enabled,
        tls=tls is not None,
    )

    await stopping.wait()
    log.info("draining", delay=settings.drain.delay, grace=settings.drain.grace)
    await health_servicer.enter_graceful_shutdown()
    await asyncio.sleep(settings.drain.delay)
    await health_servicer.end_watches()
    await server.stop(settings.drain.grace)
    for task in background:
        task.cancel()
    ops.should_exit = True
    await asyncio.gather(ops_task, *background, return_exceptions=True)
    if planned:
        planned.close()
    await guards.close()
    await backend.close()
    executor.shutdown(cancel_futures=True)
    log.info("stopped")


def _server_type(settings: Settings) -> type[GrpcAioServer | EnvoyServer]:
    return EnvoyServer if settings.transport == "envoy" else GrpcAioServer


def _bind(server: GrpcAioServer | EnvoyServer, address: str, tls: Certificates | None) -> int:
    if tls and isinstance(server, EnvoyServer):
        tls.on_change = server.replace_certificates
    return server.bind(address, tls.grpc_credentials() if tls else None)


async def _publish_health(servicer: Health) -> None:
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        await servicer.publish()


def _receipt_key(settings: Settings) -> bytes:
    if settings.receipt_key is not None:
        return settings.receipt_key.get_secret_value().encode()
    log.warning("receipt_key is not set: prediction ids cannot be checked after a restart")
    return secrets.token_bytes(32)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
