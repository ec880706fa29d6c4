"""grpc.health.v1 for a server that drains."""

import asyncio
from typing import Any, cast

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

# Seconds for the last word to reach those who watch.
_LAST_WORD = 0.1


class HealthServicer(aio.HealthServicer):
    """The library's servicer with List, and with watches that end: the library's hold a stopping server up."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()
        self._ending = False

    async def List(self, request: Any, context: Any) -> Any:
        """Tells of every service, a HealthListResponse."""
        # The library's types know nothing of it.
        messages, states = cast("Any", health_pb2), cast("Any", self)._server_status  # noqa: SLF001  # has no accessor
        return messages.HealthListResponse(
            statuses={name: health_pb2.HealthCheckResponse(status=status) for name, status in states.items()}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """Tells of every change until the caller leaves or the server stops."""
        watch = asyncio.ensure_future(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await watch
        except asyncio.CancelledError:
            if not self._ending:
                raise
        finally:
            watch.cancel()
            self._watches.discard(watch)

    async def tell(self, service: str, *, serving: bool) -> None:
        """Sets the state of a service, unless the server drains."""
        states = health_pb2.HealthCheckResponse
        await self.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def end_watches(self) -> None:
        """Ends every watch, well; after `enter_graceful_shutdown` and before the server stops."""
        self._ending = True
        if self._watches:
            await asyncio.sleep(_LAST_WORD)
        for watch in self._watches:
            watch.cancel()
