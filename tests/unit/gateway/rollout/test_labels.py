"""gateway.rollout.labels"""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.errors import FeedbackUnavailable
from gateway.feedback.database import connect
from gateway.feedback.labels import Label
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.store import Store
from gateway.rollout.evidence import Counts
from gateway.rollout.labels import LedgerLabels
from gateway.split import Variant

NOW = datetime.now(UTC)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger of its own."""
    kept = Ledger(
        Store(connect(f"sqlite:///{tmp_path / 'labels.db'}")), FeedbackMetrics(CollectorRegistry()), max_waiting=100
    )
    yield kept
    await kept.close()


def label(number: int, **fields: Any) -> Label:
    """A label of the candidate, version 2."""
    common: dict[str, Any] = {"model": "m", "version": 2, "variant": int(Variant.CANDIDATE), "confidence": 0.9}
    now = time.time()
    times = {"predicted_at": now, "observed_at": now, "client": "me"}
    return Label(receipt=number.to_bytes(16, "big"), **(common | times | fields))


async def test_wrong_classes_and_numbers_are_counted(ledger: Ledger) -> None:
    """Those of the version, the variant and the time that are asked for, each label as it is in force."""
    await ledger.book(
        [
            label(1, predicted_class=3, label_class=3),
            label(2, predicted_class=3, label_class=4),
            label(3, predicted_class=3, label_class=5, variant=int(Variant.STABLE)),
            label(4, predicted_class=3, label_class=5, version=1),
            label(5, predicted_class=3, label_class=5, predicted_at=time.time() - 3600),
        ]
    )
    labels = LedgerLabels(ledger, 0.1)
    assert await labels.outcomes("m", 2, Variant.CANDIDATE, NOW) == Counts(1, 2)
    assert await labels.outcomes("m", 2, Variant.CANDIDATE, NOW - timedelta(hours=2)) == Counts(2, 3)
    assert await labels.outcomes("other", 2, Variant.CANDIDATE, NOW) == Counts()
    await ledger.book([label(2, predicted_class=3, label_class=3)])
    assert await labels.outcomes("m", 2, Variant.CANDIDATE, NOW) == Counts(0, 2)

    await ledger.book(
        [
            label(6, model="r", predicted_value=109.0, label_value=100.0),
            label(7, model="r", predicted_value=-120.0, label_value=-100.0),
        ]
    )
    assert await labels.outcomes("r", 2, Variant.CANDIDATE, NOW) == Counts(1, 2)


async def test_labels_that_cannot_be_read_are_said_to_be_missing(ledger: Ledger) -> None:
    """The verdict goes by what else there is."""

    async def away(_work: Any) -> None:
        raise FeedbackUnavailable("the database of labels is away")

    ledger.read = away  # type: ignore[assignment,method-assign]
    with pytest.raises(OSError, match="the database of labels is away"):
        await LedgerLabels(ledger, 0.1).outcomes("m", 2, Variant.CANDIDATE, NOW)
