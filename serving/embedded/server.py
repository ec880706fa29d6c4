"""The wiring: flags become a catalog, a manager and a gRPC server, which run until the process is told to stop."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc

from serving.embedded.catalog import Catalog
from serving.embedded.config import Model
from serving.embedded.config_file import ConfigFile, read_models
from serving.embedded.credentials import server_credentials
from serving.embedded.error_interceptor import ErrorInterceptor
from serving.embedded.flags import Flags
from serving.embedded.health import Health
from serving.embedded.manager import Manager
from serving.embedded.servicers import ModelServicer, PredictionServicer
from serving.embedded.version import Loader, Servable
from serving.transport.envoy.server import EnvoyServer
from serving.transport.grpc_aio import GrpcAioServer, Register
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 30.0


def configured(flags: Flags) -> tuple[list[Model], grpc.ServerCredentials | None]:
    """What files and flags say of models to begin with, and of TLS; ConfigFileError."""
    credentials = server_credentials(flags.ssl_config_file) if flags.ssl_config_file else None
    if flags.model_config_file:
        return read_models(flags.model_config_file), credentials
    assert flags.model_base_path
    return [Model(flags.model_name, flags.model_base_path)], credentials


async def serve(flags: Flags, load: Callable[[Path], Servable]) -> None:
    """Serves until SIGTERM or SIGINT, then lets running calls finish.

    The port opens once each model's versions are loaded, have failed to load, or are found missing. Raises
    AddressTakenError, ConfigFileError or, for a label of a version that is not there, LabelledVersionUnavailable.
    """
    models, credentials = configured(flags)
    loader = Loader(load, flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6)
    manager = Manager(loader, ThreadPoolExecutor(flags.grpc_max_threads or os.cpu_count(), "call"))
    catalog = Catalog(manager, unavailable_labels=flags.allow_version_labels_for_unavailable_models)
    catalog.adopt(models)
    polls = [(catalog.poll, flags.file_system_poll_wait_seconds)]
    if flags.model_config_file:
        file = ConfigFile(flags.model_config_file, models, catalog)
        polls.append((file.poll, flags.model_config_file_poll_wait_seconds))

    await catalog.poll()
    await manager.attempted()
    prediction = PredictionServicer(manager, catalog, typed=not flags.enable_serialization_as_tensor_content)
    health = Health()
    registrations = [
        partial(tfs_grpc.add_PredictionServiceServicer_to_server, prediction),
        partial(tfs_grpc.add_ModelServiceServicer_to_server, ModelServicer(manager, catalog)),
    ]
    if flags.enable_grpc_healthcheck_service:
        manager.on_change = lambda: health.update(ready=catalog.ready())
        manager.on_change()
        registrations.append(partial(health_pb2_grpc.add_HealthServicer_to_server, health.servicer))
    server = _server(flags, registrations)
    address, *socket_addresses = flags.addresses
    port = server.bind(address, credentials)
    for socket_address in socket_addresses:
        server.bind(socket_address)
    stop = asyncio.Event()
    server.on_stop_signal(stop.set)
    await server.start()
    logger.info("serving gRPC on %s:%s", address.rpartition(":")[0], port)
    polling = [asyncio.create_task(_repeat(poll, seconds)) for poll, seconds in polls]
    await stop.wait()
    logger.info("stopping; calls in flight have %g seconds to finish", _DRAIN_SECONDS)
    for task in polling:
        task.cancel()
    await health.drain()
    await server.stop(_DRAIN_SECONDS)


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
