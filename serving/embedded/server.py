"""The wiring: flags become a source, a manager and a gRPC server, which run until the process is told to stop."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc.aio

from serving.embedded.error_interceptor import ErrorInterceptor
from serving.embedded.flags import Flags
from serving.embedded.manager import Manager
from serving.embedded.servicers import ModelServicer, PredictionServicer
from serving.embedded.source import Source
from serving.embedded.version import Loader, Servable
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 30.0
_OPTIONS = (
    # TFS sets no limit to the size of a message.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # By default a second server shares the port with the first instead of failing.
    ("grpc.so_reuseport", 0),
)


class PortError(Exception):
    """The address cannot be listened on."""


async def serve(flags: Flags, load: Callable[[Path], Servable]) -> None:
    """Serves until SIGTERM or SIGINT, then lets running calls finish; PortError if the port cannot be opened.

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
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=_OPTIONS)
    typed = not flags.enable_serialization_as_tensor_content
    tfs_grpc.add_PredictionServiceServicer_to_server(PredictionServicer(manager, typed=typed), server)
    tfs_grpc.add_ModelServiceServicer_to_server(ModelServicer(manager), server)
    address = _listen(server, flags.host, flags.port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    logger.info("serving gRPC on %s", address)
    polling = asyncio.create_task(_repeat(poll, flags.file_system_poll_wait_seconds))
    await stop.wait()
    logger.info("stopping; calls in flight have %g seconds to finish", _DRAIN_SECONDS)
    polling.cancel()
    await server.stop(_DRAIN_SECONDS)


def _listen(server: grpc.aio.Server, host: str, port: int) -> str:
    """Opens the port, any free one for 0, and returns its address."""
    host = f"[{host}]" if ":" in host else host
    try:
        return f"{host}:{server.add_insecure_port(f'{host}:{port}')}"
    except RuntimeError as error:
        raise PortError(f"{host}:{port} cannot be listened on; is another server there?") from error


async def _repeat(action: Callable[[], Awaitable[None]], seconds: int) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        try:
            await action()
        except Exception:  # what goes wrong once must not end the watch for new versions
            logger.exception("looking for versions failed")
