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
        self._told: set[str] = set()

    async def publish(self) -> None:
        """Tells every watcher what holds now; once the gateway drains that is NOT_SERVING for good."""
        # A model that is gone was told of before: who watches it hears that it answers no more.
        self._told |= self._catalog.models.keys() if self._models else set()
        for name in self._told:
            model = self._catalog.models.get(name)
            await self.tell(name, serving=model is not None and model.backend_up and model.default is not None)
        for service in ("", *self._services):
            await self.tell(service, serving=self._catalog.ready)
