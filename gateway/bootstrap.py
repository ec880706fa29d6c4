"""Wires the gateway together, runs it, and takes it down in order."""

import asyncio
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from gateway import logs
from gateway.auth.keys import KeyRing, KeysFileError
from gateway.auth.principal import EVERYONE
from gateway.backend.tf_serving import TensorFlowServing
from gateway.catalog import Catalog
from gateway.interceptors.access_log import AccessLog
from gateway.interceptors.admission import Admission
from gateway.interceptors.authentication import Authentication, NoAuthentication
from gateway.interceptors.call_metrics import CallMetrics
from gateway.interceptors.chain import Chain, Interceptor
from gateway.interceptors.request_id import RequestId
from gateway.metrics import Metrics
from gateway.ops import OpsServer, application
from gateway.predictor import BatchLimits, Predictor
from gateway.receipts import Receipts
from gateway.servicers import health, inference
from gateway.servicers.health import Health
from gateway.servicers.inference import Inference
from gateway.settings import Settings
from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer
from tensorgate.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server

log = structlog.get_logger("gateway")

# Seconds between two looks at files that may have changed, and at what health should say.
WATCH_INTERVAL = 1.0
# Seconds to wait for the models before the ports open without them.
FIRST_LOOK = 0.3
# The transport takes this many times the largest request, so that one that is too large gets a typed answer; beyond
# that it is cut off unread.
OVERSIZE_FACTOR = 4


async def run(settings: Settings) -> int:
    """Sets the log up and serves; returns the exit status, 1 after a line on stderr if the gateway cannot start."""
    logs.configure(settings.log)
    try:
        await serve(settings)
    except (AddressTakenError, KeysFileError) as error:
        hint = "; make one with `python -m gateway keys create`" if isinstance(error, KeysFileError) else ""
        sys.stderr.write(f"gateway: {error}{hint}\n")
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Runs the gateway until SIGTERM or SIGINT. AddressTakenError or KeysFileError if it cannot start."""
    metrics = Metrics()
    keys = KeyRing(settings.auth.keys_file) if settings.auth.enabled else None
    backend = TensorFlowServing(settings.backend.address)
    catalog = Catalog(settings.models, backend, metrics, timeout=settings.backend.timeout)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="preprocess")
    predictor = Predictor(
        catalog,
        backend,
        Receipts(_receipt_key(settings)),
        metrics,
        executor,
        batch=BatchLimits(**settings.batching.model_dump()),
        max_instances=settings.limits.max_instances,
    )
    servicer = Inference(predictor, catalog, metrics, default_timeout=settings.backend.timeout)
    health_servicer = Health(catalog, (inference.NAME,))
    # Outermost first. A call that is refused has an id, a log line and a count all the same.
    interceptors: list[Interceptor] = [
        RequestId(),
        AccessLog(),
        CallMetrics(metrics),
        Authentication(keys) if keys else NoAuthentication(EVERYONE),
        Admission(settings.limits.max_concurrent_calls),
    ]
    chain = Chain(interceptors, max_request_bytes=settings.limits.max_request_bytes, exempt=(health.NAME,))
    server = _server_type(settings)(
        [
            partial(add_InferenceServiceServicer_to_server, servicer),
            partial(add_HealthServicer_to_server, health_servicer),
        ],
        interceptors=[chain],
        max_message_bytes=OVERSIZE_FACTOR * settings.limits.max_request_bytes,
    )
    stopping = asyncio.Event()
    ops = OpsServer(application(catalog, metrics, stopping.is_set), settings.http)
    port = server.bind(settings.listen)

    server.on_stop_signal(stopping.set)
    loop = asyncio.get_running_loop()
    watching = loop.create_task(catalog.watch(settings.backend.poll_interval))
    # A backend that is there is known before the first call comes; one that is not must not keep the ports closed.
    await catalog.wait_ready(FIRST_LOOK)
    await health_servicer.publish()
    background = [
        watching,
        loop.create_task(_publish_health(health_servicer)),
        *([loop.create_task(_watch_keys(keys))] if keys else []),
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
    await backend.close()
    executor.shutdown(cancel_futures=True)
    log.info("stopped")


def _server_type(settings: Settings) -> type[GrpcAioServer | EnvoyServer]:
    return EnvoyServer if settings.transport == "envoy" else GrpcAioServer


async def _publish_health(servicer: Health) -> None:
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        await servicer.publish()


async def _watch_keys(keys: KeyRing) -> None:
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        try:
            if keys.reload():
                log.info("keys reloaded")
        except KeysFileError as error:
            log.error("keys file unreadable, the keys stay as they were", message=str(error))  # noqa: TRY400  # the message says it all


def _receipt_key(settings: Settings) -> bytes:
    if settings.receipt_key is not None:
        return settings.receipt_key.get_secret_value().encode()
    log.warning("receipt_key is not set: prediction ids cannot be checked after a restart")
    return secrets.token_bytes(32)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
