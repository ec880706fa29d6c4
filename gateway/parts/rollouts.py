"""Roll-outs, wired."""

import asyncio
from collections.abc import Callable
from functools import partial

from gateway.catalog import Catalog
from gateway.metrics import Metrics
from gateway.parts.part import Part, Service
from gateway.rollout.evidence import Labels
from gateway.rollout.setup import rollouts_of
from gateway.servicers import rollouts
from gateway.settings import Settings
from tensorgate.v1 import rollout_service_pb2
from tensorgate.v1.rollout_service_pb2_grpc import add_RolloutServiceServicer_to_server


class RolloutPart(Part):
    """Follows the plans; where none are kept its service says so. While `busy` no copies go to a shadow.

    `labels` tells how answers turned out, where callers say so.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        metrics: Metrics,
        busy: Callable[[], bool],
        labels: Labels | None = None,
    ) -> None:
        self._models = settings.models
        # Each worker counts by itself, as a replica does.
        judges = {"replicas": settings.rollout.replicas * settings.workers}
        rules = settings.rollout.model_copy(update=judges)
        self._rollouts = rollouts_of(rules, catalog, metrics, busy=busy, labels=labels)
        servicer = rollouts.RolloutServicer(self._rollouts, catalog)
        register = partial(add_RolloutServiceServicer_to_server, servicer)
        self.services = [Service([rollouts.NAME], rollout_service_pb2.DESCRIPTOR, register, servicer)]
        self.observers = [self._rollouts.observe] if self._rollouts else []

    async def start(self) -> None:
        """Reads the plans: no call goes elsewhere than they say."""
        if self._rollouts:
            await asyncio.gather(*(self._rollouts.look(name) for name in self._models))

    async def run(self) -> None:
        """Follows the plans as they change, and changes them as the evidence says."""
        if self._rollouts:
            await self._rollouts.watch()

    async def close(self) -> None:
        """Ends the copies that are under way."""
        if self._rollouts:
            self._rollouts.close()
