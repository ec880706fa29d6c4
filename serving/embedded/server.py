"""The wiring: flags become a catalog, a manager, gRPC and REST servers, which run until the process is told to stop."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.embedded.batching.monitoring import BatchMetrics
from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.parameters_file import read_parameters
from serving.embedded.batching.scheduler import Scheduler
from serving.embedded.catalog import Catalog
from serving.embedded.config import Model
from serving.embedded.config_file import ConfigFile, read_models
from serving.embedded.credentials import server_credentials
from serving.embedded.error_interceptor import ErrorInterceptor
from serving.embedded.flags import Flags
from serving.embedded.health import Health
from serving.embedded.loading import loader_of
from serving.embedded.manager import Manager
from serving.embedded.monitoring import Metrics, metrics_path
from serving.embedded.predictions import Predictions
from serving.embedded.request_log import OpenWriter, RequestLogs
from serving.embedded.rest.api import RestApi, RestOptions
from serving.embedded.servable import Servable
from serving.embedded.servicers import ModelServicer, PredictionServicer
from serving.embedded.workers import Workers
from serving.transport import reflection
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer, Register
from serving.transport.http import HttpServer
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 30.0


class Configuration(NamedTuple):
    """What files and flags say."""

    models: list[Model]
    """Those to begin with."""
    credentials: grpc.ServerCredentials | None
    batching: Parameters | None
    metrics_path: str | None


def configured(flags: Flags) -> Configuration:
    """Reads the files that flags name; ConfigFileError."""
    if flags.model_config_file:
        models = read_models(flags.model_config_file)
    else:
        assert flags.model_base_path
        models = [Model(flags.model_name, flags.model_base_path)]
    batching = None
    if flags.enable_batching:
        file = flags.batching_parameters_file
        batching = read_parameters(file) if file else Parameters(thread_pool_name="model_server_batch_threads")
    return Configuration(
        models,
        server_credentials(flags.ssl_config_file) if flags.ssl_config_file else None,
        batching,
        metrics_path(flags.monitoring_config_file) if flags.monitoring_config_file else None,
    )


async def serve(
    flags: Flags,
    load: Callable[[Path], Servable],
    records: Callable[[Path], Iterable[bytes]],
    open_writer: OpenWriter,
) -> None:
    """Serves until SIGTERM or SIGINT, then lets running calls finish.

    `records` reads a TFRecord file, as warm-up requests are; `open_writer` writes one, as the logs of requests are.

    Ports open once each model's versions are loaded, have failed to load, or are found missing. Raises
    AddressTakenError, ConfigFileError or, for a label of a version that is not there, LabelledVersionUnavailable.
    """
    models, credentials, batching, metrics_url = configured(flags)
    scheduler = _scheduler(batching) if batching else None
    workers = Workers(flags.grpc_max_threads or os.cpu_count() or 1)
    manager = Manager(loader_of(flags, batching, load, records), workers, scheduler)
    logs = RequestLogs(open_writer)
    catalog = Catalog(
        manager, unavailable_labels=flags.allow_version_labels_for_unavailable_models, on_adopt=logs.adopt
    )
    catalog.adopt(models)
    polls = [(catalog.poll, flags.file_system_poll_wait_seconds)]
    if flags.model_config_file:
        file = ConfigFile(flags.model_config_file, models, catalog)
        polls.append((file.poll, flags.model_config_file_poll_wait_seconds))

    await catalog.poll()
    await manager.attempted()
    metrics = Metrics(catalog.configures, manager.available)
    if scheduler and batching and metrics_url:
        scheduler.on_batch = BatchMetrics(metrics.registry, batching.thread_pool_name).count
    predictions = Predictions(manager, catalog, logs)
    models_servicer = ModelServicer(manager, catalog)
    health = Health()
    stop = asyncio.Event()
    registrations = _registrations(
        PredictionServicer(
            predictions,
            metrics if metrics_url else None,
            typed=not flags.enable_serialization_as_tensor_content,
        ),
        models_servicer,
        health if flags.enable_grpc_healthcheck_service else None,
        stop,
    )
    manager.on_change = lambda: health.update(ready=catalog.ready())
    manager.on_change()
    server = _server(flags, registrations)
    address, *socket_addresses = flags.addresses
    port = server.bind(address, credentials)
    for socket_address in socket_addresses:
        server.bind(socket_address)
    rest = None
    if flags.rest_api_port is not None:
        api = _rest_api(flags, predictions, models_servicer, metrics, metrics_url)
        rest = HttpServer(api, flags.host, flags.rest_api_port, grace=_DRAIN_SECONDS)
    server.on_stop_signal(stop.set)
    await server.start()
    host = address.rpartition(":")[0]
    logger.info("serving gRPC on %s:%s", host, port)
    answering = []
    if rest:
        answering.append(asyncio.create_task(rest.run_until_stopped()))
        logger.info("serving REST on %s:%s", host, rest.port)
    polling = [asyncio.create_task(_repeat(poll, seconds)) for poll, seconds in polls]
    await stop.wait()
    logger.info("stopping; calls in flight have %g seconds to finish", _DRAIN_SECONDS)
    for task in polling:
        task.cancel()
    await health.drain()
    if rest:
        rest.should_exit = True
    await asyncio.gather(server.stop(_DRAIN_SECONDS), *answering)
    await asyncio.gather(asyncio.to_thread(workers.close), asyncio.to_thread(logs.close))


def _scheduler(batching: Parameters) -> Scheduler:
    threads = batching.num_batch_threads
    return Scheduler(ThreadPoolExecutor(threads, batching.thread_pool_name), threads)


def _registrations(
    prediction: PredictionServicer, models: ModelServicer, health: Health | None, stop: asyncio.Event
) -> list[Register]:
    registrations: list[Register] = [
        prediction.register,
        partial(tfs_grpc.add_ModelServiceServicer_to_server, models),
    ]
    files: list[Any] = [tfs.DESCRIPTOR]
    if health:
        registrations.append(partial(health_pb2_grpc.add_HealthServicer_to_server, health.servicer))
        files.append(health_pb2.DESCRIPTOR)
    services = [service.full_name for file in files for service in file.services_by_name.values()]
    return [*registrations, partial(reflection.register, services=services, files=files, until=stop)]


def _rest_api(
    flags: Flags, predictions: Predictions, models: ModelServicer, metrics: Metrics, metrics_url: str | None
) -> RestApi:
    return RestApi(
        predictions,
        models,
        metrics,
        ThreadPoolExecutor(flags.rest_api_num_threads or 4 * (os.cpu_count() or 1), "rest"),
        RestOptions(
            timeout=flags.rest_api_timeout_in_ms / 1e3 if flags.rest_api_timeout_in_ms > 0 else None,
            cors=flags.rest_api_enable_cors_support,
            metrics_path=metrics_url,
        ),
    )


def _server(flags: Flags, registrations: Sequence[Register]) -> GrpcAioServer | EnvoyServer:
    interceptors = [ErrorInterceptor()]
    if flags.transport == "envoy":
        return EnvoyServer(registrations, interceptors=interceptors)
    return GrpcAioServer(registrations, interceptors=interceptors, options=flags.grpc_channel_arguments)


async def _repeat(action: Callable[[], Awaitable[None]], seconds: int) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        try:
            await action()
        except Exception:  # what goes wrong once must not be the last look
            logger.exception("looking for changes failed")
