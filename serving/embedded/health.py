"""grpc.health.v1, kept truthful."""

import asyncio

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

_MODELS, _PREDICTIONS = "ModelService", "PredictionService"


class Health:
    """The state of the server ("") and of its services, by the short names that TFS gives them.

    The server and its PredictionService are SERVING while every configured model has a version that answers; the
    ModelService is from the start, as a reload may be what is missing. When the server drains none is.
    """

    def __init__(self) -> None:
        self.servicer = aio.HealthServicer()
        self._tasks: set[asyncio.Task[None]] = set()

    def update(self, *, ready: bool) -> None:
        """Says whether every model answers."""
        # Those who watch are told by a coroutine; updates run in order.
        task = asyncio.get_running_loop().create_task(self._set(ready=ready))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """From now on nothing is SERVING."""
        await self.servicer.enter_graceful_shutdown()

    async def _set(self, *, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self.servicer.set(_MODELS, status.SERVING)
        for service in ("", _PREDICTIONS):
            await self.servicer.set(service, status.SERVING if ready else status.NOT_SERVING)
