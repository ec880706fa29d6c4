"""gateway.feedback.tasks"""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.catalog import Catalog, Servable, State, Version
from gateway.errors import FeedbackUnavailable, ModelNotFound
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.store import Store, Task
from gateway.feedback.tasks import Tasks
from gateway.metrics import Metrics
from gateway.receipts import model_digest
from serving.contract import Postprocessing
from tests.fakes import digits

DIGITS = Task("classification", tuple("0123456789"))


def catalog(*versions: int, **changes: Any) -> Catalog:
    """A catalog of `digits` in these versions."""
    catalog = Catalog(["digits"], None, Metrics(), timeout=1)  # type: ignore[arg-type]
    for number in versions:
        servable = Servable("digits", number, {}, digits.contract(**changes))
        catalog.models["digits"].versions[number] = Version(number, State.AVAILABLE, servable=servable)
    return catalog


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_versions_are_remembered(open_store: Callable[[], Store]) -> None:
    """What a version's labels are is known after it is served no more, and to replicas that never saw it."""
    ledgers = [Ledger(open_store(), FeedbackMetrics(CollectorRegistry()), max_waiting=10) for _ in range(2)]
    one, two = Tasks(catalog(1, 2)), Tasks(catalog(3, postprocessing=Postprocessing(task="raw")))
    assert one.task("digits", 1) == DIGITS
    with pytest.raises(FeedbackUnavailable):
        two.task("digits", 1)
    await one.refresh(ledgers[0])
    await two.refresh(ledgers[1])
    assert two.task("digits", 1) == two.task("digits", 2) == DIGITS
    assert two.task("digits", 3) is None
    assert two.task("digits", 4) is None
    assert (two.class_name("digits", 1, 7), two.class_name("digits", 1, 10), two.class_name("x", 1, 7)) == ("7", "", "")
    for ledger in ledgers:
        await ledger.close()


def test_models() -> None:
    """A model is found by its digest while it is served."""
    tasks = Tasks(catalog())
    assert tasks.model(model_digest("digits")) == "digits"
    with pytest.raises(ModelNotFound):
        tasks.model(model_digest("cats"))
