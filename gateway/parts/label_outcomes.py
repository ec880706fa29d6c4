"""What roll-outs are told of the labels that came back."""

import math
from datetime import datetime
from functools import partial

from gateway.catalog import Catalog
from gateway.errors import FeedbackUnavailable
from gateway.feedback.ledger import Ledger
from gateway.observations import Variant
from gateway.quality import outcomes
from gateway.rollout.evidence import Counts

# A value is wrong if it is further off than this many times the root mean squared error on held-out data: of errors
# that are normally distributed, one in twenty is.
TOLERANCE = 2.0


class LabelOutcomes:
    """Reads the labels of the database: `gateway.rollout.evidence.Labels`."""

    def __init__(self, ledger: Ledger, catalog: Catalog) -> None:
        self._ledger = ledger
        self._catalog = catalog

    async def outcomes(self, model: str, version: int, variant: Variant, since: datetime) -> Counts:
        """How a version's answers as `variant` turned out. OSError while the database is away."""
        work = partial(
            outcomes.count,
            model=model,
            version=version,
            variant=variant,
            since=since.timestamp(),
            tolerance=self._tolerance(model),
        )
        try:
            return Counts(*await self._ledger.read(lambda store: store.read(work)))
        except FeedbackUnavailable as error:
            raise OSError(error.message) from error

    def _tolerance(self, model: str) -> float:
        """One for all versions, that of the best: a worse one must not be measured by its own yardstick."""
        served = self._catalog.models.get(model)
        errors = [
            version.servable.contract.evaluation["rmse"]
            for version in (served.versions.values() if served else ())
            if version.servable and version.servable.contract and "rmse" in version.servable.contract.evaluation
        ]
        return TOLERANCE * min(errors, default=math.inf)
