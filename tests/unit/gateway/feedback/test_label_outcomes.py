"""gateway.parts.label_outcomes: what roll-outs are told of the labels."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.catalog import Catalog, Servable, State, Version
from gateway.feedback.database import connect
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.store import Store
from gateway.metrics import Metrics
from gateway.observations import Variant
from gateway.parts.label_outcomes import LabelOutcomes
from gateway.rollout.evidence import Counts
from serving.contract import Postprocessing
from tests.fakes import digits
from tests.unit.gateway.feedback.conftest import NOW, classified

SINCE = datetime.fromtimestamp(NOW - 3600, UTC)


def catalog(**rmse: float) -> Catalog:
    """A catalog with versions `v1`, `v2`, … of `digits`, each with this error on held-out data."""
    catalog = Catalog(["digits"], None, Metrics(), timeout=1)  # type: ignore[arg-type]
    for name, error in rmse.items():
        contract = digits.contract(
            evaluation={"rmse": error}, postprocessing=Postprocessing(task="regression", output="value")
        )
        number = int(name[1:])
        servable = Servable("digits", number, {}, contract)
        catalog.models["digits"].versions[number] = Version(number, State.AVAILABLE, servable=servable)
    return catalog


def ledger_of(store: Store) -> Ledger:
    """A ledger on the store."""
    return Ledger(store, FeedbackMetrics(CollectorRegistry()), max_waiting=10)


async def test_classes_and_values(open_store: Callable[[], Store]) -> None:
    """A class is right or wrong; a value is wrong beyond twice the best version's error, whatever its own says."""
    store = open_store()
    value: Any = replace(classified(3, version=2), predicted_class=None, label_class=None, predicted_value=10.0)
    store.book(
        [
            classified(3),
            classified(4),
            classified(4, variant=1),
            *(
                replace(value, receipt=bytes([place]) * 16, label_value=truth)
                for place, truth in enumerate((11.9, 12.1))
            ),
        ]
    )
    ledger = ledger_of(store)
    labels = LabelOutcomes(ledger, catalog(v1=1.0, v2=5.0))
    assert await labels.outcomes("digits", 1, Variant.STABLE, SINCE) == Counts(1, 2)
    assert await labels.outcomes("digits", 1, Variant.CANDIDATE, SINCE) == Counts(1, 1)
    assert await labels.outcomes("digits", 2, Variant.STABLE, SINCE) == Counts(1, 2)
    assert await LabelOutcomes(ledger, catalog()).outcomes("digits", 2, Variant.STABLE, SINCE) == Counts(0, 2)
    assert await labels.outcomes("digits", 1, Variant.STABLE, datetime.now(UTC)) == Counts(0, 0)
    await ledger.close()


async def test_unavailable(tmp_path: Any) -> None:
    """A database that is away is an OSError, as roll-outs expect it."""
    ledger = ledger_of(Store(connect(f"postgresql://nobody@/none?host={tmp_path}")))
    with pytest.raises(OSError, match="the database of labels is away"):
        await LabelOutcomes(ledger, catalog()).outcomes("digits", 1, Variant.STABLE, SINCE)
    await ledger.close()
