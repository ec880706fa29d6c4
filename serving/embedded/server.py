"""The wiring: flags become a catalog, a manager and a gRPC server, which run until the process is told to stop."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc

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
from serving.embedded.manager import Manager
from serving.embedded.request_log import OpenWriter, RequestLogs
from serving.embedded.servable import Servable
from serving.embedded.servicers import ModelServicer, PredictionServicer
from serving.embedded.version import Loader
from serving.transport.grpc_aio import GrpcAioServer
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 30.0


def configured(flags: Flags) -> tuple[list[Model], grpc.ServerCredentials | None, Parameters | None]:
    """What files and flags say of models to begin with, of TLS, and of batching; ConfigFileError."""
    credentials = server_credentials(flags.ssl_config_file) if flags.ssl_config_file else None
    batching = None
    if flags.enable_batching:
        file = flags.batching_parameters_file
        batching = read_parameters(file) if file else Parameters(thread_pool_name="model_server_batch_threads")
    if flags.model_config_file:
        return read_models(flags.model_config_file), credentials, batching
    assert flags.model_base_path
    return [Model(flags.model_name, flags.model_base_path)], credentials, batching


async def serve(flags: Flags, load: Callable[[Path], Servable], open_writer: OpenWriter) -> None:
    """Serves until SIGTERM or SIGINT, then lets running calls finish. `open_writer` writes the logs of requests.

    The port opens once each model's versions are loaded, have failed to load, or are found missing. Raises
    AddressTakenError, ConfigFileError or, for a label of a version that is not there, LabelledVersionUnavailable.
    """
    models, credentials, batching = configured(flags)
    loader = Loader(load, flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6)
    scheduler = None
    if batching:
        scheduler = Scheduler(batching, ThreadPoolExecutor(batching.num_batch_threads, batching.thread_pool_name))
    manager = Manager(loader, ThreadPoolExecutor(flags.grpc_max_threads or os.cpu_count(), "call"), scheduler)
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
    prediction = PredictionServicer(manager, catalog, logs, typed=not flags.enable_serialization_as_tensor_content)
    health = Health()
    registrations = [
        partial(tfs_grpc.add_PredictionServiceServicer_to_server, prediction),
        partial(tfs_grpc.add_ModelServiceServicer_to_server, ModelServicer(manager, catalog)),
    ]
    if flags.enable_grpc_healthcheck_service:
        manager.on_change = lambda: health.update(ready=catalog.ready())
        manager.on_change()
        registrations.append(partial(health_pb2_grpc.add_HealthServicer_to_server, health.servicer))
    server = GrpcAioServer(registrations, interceptors=[ErrorInterceptor()], options=flags.grpc_channel_arguments)
    host = f"[{flags.host}]" if ":" in flags.host else flags.host
    port = server.bind(f"{host}:{flags.port}", credentials)
    if flags.grpc_socket_path:
        server.bind(f"unix:{flags.grpc_socket_path}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    logger.info("serving gRPC on %s:%s", host, port)
    polling = [asyncio.create_task(_repeat(poll, seconds)) for poll, seconds in polls]
    await stop.wait()
    logger.info("stopping; calls in flight have %g seconds to finish", _DRAIN_SECONDS)
    for task in polling:
        task.cancel()
    await health.drain()
    await server.stop(_DRAIN_SECONDS)
    await asyncio.to_thread(logs.close)


async def _repeat(action: Callable[[], Awaitable[None]], seconds: int) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        try:
            await action()
        except Exception:  # what goes wrong once must not be the last look
            logger.exception("looking for changes failed")
