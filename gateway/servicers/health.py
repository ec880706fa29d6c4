"""grpc.health.v1: the truth about every model, and about the gateway as a whole under the empty name."""

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from gateway.catalog import Catalog

NAME = "grpc.health.v1.Health"


class Health(aio.HealthServicer):
    """Check and Watch; a service's name is a model's name, the gateway's own service, or empty."""

    def __init__(self, catalog: Catalog, services: tuple[str, ...]) -> None:
        super().__init__()
        self._catalog = catalog
        self._services = services

    async def publish(self) -> None:
        """Tells every watcher what holds now. After `drain` that is NOT_SERVING for good."""
        for name, model in self._catalog.models.items():
            await self._tell(name, serving=model.backend_up and model.default is not None)
        for service in ("", *self._services):
            await self._tell(service, serving=self._catalog.ready)

    async def drain(self) -> None:
        """NOT_SERVING for everything, and for good."""
        await self.enter_graceful_shutdown()

    async def _tell(self, service: str, *, serving: bool) -> None:
        states = health_pb2.HealthCheckResponse
        await self.set(service, states.SERVING if serving else states.NOT_SERVING)
