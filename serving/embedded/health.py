"""grpc.health.v1, kept truthful."""

import asyncio

from serving.transport.health import HealthServicer

_MODELS, _PREDICTIONS = "ModelService", "PredictionService"


class Health:
    """The state of the server ("") and of its services, by the short names that TFS gives them.

    The server and its PredictionService are SERVING while every configured model has a version that answers; the
    ModelService is from the start, as a reload may be what is missing. When the server drains none is.
    """

    def __init__(self) -> None:
        self.servicer = HealthServicer()
        self._tasks: set[asyncio.Task[None]] = set()

    def update(self, *, ready: bool) -> None:
        """Says whether every model answers."""
        # Those who watch are told by a coroutine; updates run in order.
        task = asyncio.get_running_loop().create_task(self._set(ready=ready))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """From now on nothing is SERVING, and nobody watches."""
        await self.servicer.enter_graceful_shutdown()
        await self.servicer.end_watches()

    async def _set(self, *, ready: bool) -> None:
        await self.servicer.tell(_MODELS, serving=True)
        for service in ("", _PREDICTIONS):
            await self.servicer.tell(service, serving=ready)
