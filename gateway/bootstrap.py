"""Wires the gateway together, runs it, and takes it down in order."""

import asyncio
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import structlog
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from gateway.auth.client_certificates import ClientCertificates
from gateway.auth.keys import KeyRing, KeysFileError
from gateway.auth.principal import EVERYONE
from gateway.backend.tf_serving import TensorFlowServing
from gateway.catalog import Catalog
from gateway.certificates import CertificateError, Certificates
from gateway.guard_settings import AuthSettings, LimitSettings
from gateway.interceptors.access_log import AccessLog
from gateway.interceptors.admission import Admission
from gateway.interceptors.authentication import Authentication, NoAuthentication
from gateway.interceptors.call_limits import CallLimits
from gateway.interceptors.call_metrics import CallMetrics
from gateway.interceptors.chain import Chain, Interceptor
from gateway.interceptors.request_id import RequestId
from gateway.limits import Store
from gateway.limits.memory import MemoryStore
from gateway.metrics import Metrics
from gateway.ops import OpsServer, application
from gateway.predictor import BatchLimits, Predictor
from gateway.receipts import Receipts
from gateway.servicers import health, inference
from gateway.servicers.health import Health
from gateway.servicers.inference import Inference
from gateway.settings import Settings
from serving.transport.grpc_aio import GrpcAioServer
from tensorgate.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server

if TYPE_CHECKING:
    from gateway.auth.tokens import TokenVerifier

log = structlog.get_logger("gateway")

# Seconds between two looks at files that may have changed, and at what health should say.
WATCH_INTERVAL = 1.0
# Seconds to wait for the models before the ports open without them.
FIRST_LOOK = 0.3
# The transport takes this many times the largest request, so that one that is too large gets a typed answer; beyond
# that it is cut off unread.
OVERSIZE_FACTOR = 4


async def serve(settings: Settings) -> None:
    """Runs the gateway until SIGTERM or SIGINT. AddressTakenError or KeysFileError if it cannot start."""
    metrics = Metrics()
    limit_store = _limit_store(settings.limits, metrics)
    own_certificates = Certificates.of(settings.tls)
    auth = settings.auth
    keys = KeyRing(auth.keys_file) if auth.enabled and auth.keys_file else None
    tokens = _token_verifier(auth) if auth.enabled and auth.issuers else None
    client_certificates = ClientCertificates(auth.certificates) if auth.enabled and auth.certificates else None
    backend = TensorFlowServing(settings.backend, metrics)
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
        Authentication(keys, tokens, client_certificates) if auth.enabled else NoAuthentication(EVERYONE),
        CallLimits(settings.limits, limit_store, metrics),
        Admission(settings.limits, metrics),
    ]
    chain = Chain(interceptors, max_request_bytes=settings.limits.max_request_bytes, exempt=(health.NAME,))
    server = GrpcAioServer(
        [
            partial(add_InferenceServiceServicer_to_server, servicer),
            partial(add_HealthServicer_to_server, health_servicer),
        ],
        interceptors=[chain],
        max_message_bytes=OVERSIZE_FACTOR * settings.limits.max_request_bytes,
    )
    stopping = asyncio.Event()
    https = own_certificates.http_context() if own_certificates and settings.tls.http else None
    ops = OpsServer(application(catalog, metrics, stopping.is_set), settings.http, https)
    port = server.bind(settings.listen, own_certificates.grpc_credentials() if own_certificates else None)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    watching = loop.create_task(catalog.watch(settings.backend.poll_interval))
    # A backend that is there is known before the first call comes; one that is not must not keep the ports closed.
    await catalog.wait_ready(FIRST_LOOK)
    await health_servicer.publish()
    background = [
        watching,
        loop.create_task(_publish_health(health_servicer)),
        loop.create_task(_watch_files(keys, own_certificates)),
    ]
    if tokens:
        tokens.start()
    ops_task = loop.create_task(ops.run_until_stopped())
    await server.start()
    log.info(
        "serving",
        grpc=_with_port(settings.listen, port),
        http=_with_port(settings.http, ops.port),
        models=list(settings.models),
        backend=settings.backend.address,
        auth=settings.auth.enabled,
        tls=own_certificates is not None,
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
    if tokens:
        await tokens.close()
    await limit_store.close()
    await backend.close()
    executor.shutdown(cancel_futures=True)
    log.info("stopped")


async def _publish_health(servicer: Health) -> None:
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        await servicer.publish()


async def _watch_files(keys: KeyRing | None, certificates: Certificates | None) -> None:
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        try:
            if keys and keys.reload():
                log.info("keys reloaded")
        except KeysFileError as error:
            log.error("keys file unreadable, the keys stay as they were", message=str(error))  # noqa: TRY400  # the message says it all
        try:
            if certificates and certificates.reload():
                log.info("certificates reloaded")
        except CertificateError as error:
            log.error("certificates stay as they were", message=str(error))  # noqa: TRY400  # the message says it all


def _limit_store(settings: LimitSettings, metrics: Metrics) -> Store:
    if settings.redis_url is None:
        return MemoryStore()
    # Only where there is one: the library takes 40 MB and half a second to import.
    from gateway.limits.redis import RedisStore  # noqa: PLC0415

    url = settings.redis_url.get_secret_value()
    return RedisStore(url, metrics, timeout=settings.redis_timeout, when_down=settings.redis_down)


def _token_verifier(settings: AuthSettings) -> "TokenVerifier":
    # Only where there are issuers: the cryptography takes 20 MB and a fifth of a second to import.
    from gateway.auth.tokens import TokenVerifier  # noqa: PLC0415

    return TokenVerifier(settings.issuers)


def _receipt_key(settings: Settings) -> bytes:
    if settings.receipt_key is not None:
        return settings.receipt_key.get_secret_value().encode()
    log.warning("receipt_key is not set: prediction ids cannot be checked after a restart")
    return secrets.token_bytes(32)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
