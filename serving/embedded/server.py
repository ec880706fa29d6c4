"""The wiring: flags become a source, a manager and a gRPC server, which run until the process is told to stop."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from serving.embedded.error_interceptor import ErrorInterceptor
from serving.embedded.flags import Flags
from serving.embedded.manager import Manager
from serving.embedded.servicers import ModelServicer, PredictionServicer
from serving.embedded.source import Source
from serving.embedded.version import Loader, Servable
from serving.transport.grpc_aio import GrpcAioServer
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 30.0


async def serve(flags: Flags, load: Callable[[Path], Servable]) -> None:
    """Serves until SIGTERM or SIGINT, then lets running calls finish; AddressTakenError if the port cannot be opened.

    The port opens once the first version is loaded, has failed to load, or is found missing.
    """
    loader = Loader(load, flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6)
    manager = Manager(loader, ThreadPoolExecutor(flags.grpc_max_threads or os.cpu_count(), "call"))
    source = Source(flags.model_base_path)

    async def poll() -> None:
        versions = await asyncio.to_thread(source.poll)
        if versions is not None:
            manager.want(flags.model_name, versions)

    await poll()
    await manager.attempted()
    prediction = PredictionServicer(manager, typed=not flags.enable_serialization_as_tensor_content)
    server = GrpcAioServer(
        [
            partial(tfs_grpc.add_PredictionServiceServicer_to_server, prediction),
            partial(tfs_grpc.add_ModelServiceServicer_to_server, ModelServicer(manager)),
        ],
        interceptors=[ErrorInterceptor()],
    )
    host = f"[{flags.host}]" if ":" in flags.host else flags.host
    port = server.bind(f"{host}:{flags.port}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    logger.info("serving gRPC on %s:%s", host, port)
    polling = asyncio.create_task(_repeat(poll, flags.file_system_poll_wait_seconds))
    await stop.wait()
    logger.info("stopping; calls in flight have %g seconds to finish", _DRAIN_SECONDS)
    polling.cancel()
    await server.stop(_DRAIN_SECONDS)


async def _repeat(action: Callable[[], Awaitable[None]], seconds: int) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        try:
            await action()
        except Exception:  # what goes wrong once must not end the watch for new versions
            logger.exception("looking for versions failed")
