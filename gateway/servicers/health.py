"""grpc.health.v1: the truth about every model, and about the gateway as a whole under the empty name."""

from gateway.catalog import Catalog
from serving.transport.health import HealthServicer

NAME = "grpc.health.v1.Health"


class Health(HealthServicer):
    """Check, List and Watch; a service's name is empty, one of the gateway's services, or with `models` a model's."""

    def __init__(self, catalog: Catalog, services: tuple[str, ...], *, models: bool = True) -> None:
        super().__init__()
        self._catalog = catalog
        self._services = services
        self._models = models

    async def publish(self) -> None:
        """Tells every watcher what holds now; once the gateway drains that is NOT_SERVING for good."""
        for name, model in self._catalog.models.items() if self._models else ():
            await self.tell(name, serving=model.backend_up and model.default is not None)
        for service in ("", *self._services):
            await self.tell(service, serving=self._catalog.ready)
