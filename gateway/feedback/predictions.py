"""Counts predictions, labelled or not, by version and confidence."""

import time
from collections.abc import Sequence

from gateway.answers import Answer, Classification, Regression
from gateway.feedback.labels import Slot, Sums, bucket, confidence_bin, plus
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.observations import Observation

# Answers that are kept for the next flush; beyond them the call that comes pays for adding up, about 1.5 ms.
MAX_ANSWERS = 1000
# Cells that are kept while the database is away: weeks of a few versions.
MAX_CELLS = 100_000


class Predictions:
    """Counts what it observes, and adds it to the database's tally at each flush."""

    def __init__(self, metrics: FeedbackMetrics) -> None:
        self._metrics = metrics
        self._kept: list[tuple[Slot, Sequence[Answer]]] = []
        self._answers = 0
        self._sums: Sums = {}

    def observe(self, observation: Observation) -> None:
        """Keeps the observation's answers for the next flush."""
        servable = observation.servable
        slot = Slot(servable.model, servable.version, int(observation.variant), bucket(time.time()))
        self._kept.append((slot, observation.answers))
        self._answers += len(observation.answers)
        if self._answers >= MAX_ANSWERS:
            self._add_up()

    async def flush(self, ledger: Ledger) -> None:
        """Writes what was counted; keeps it if the database is away."""
        self._add_up()
        if not self._sums:
            return
        sums, self._sums = self._sums, {}
        try:
            await ledger.run(lambda store: store.count(sums))
        except BaseException:
            for key, terms in self._sums.items():
                plus(sums, key, *terms)
            self._sums = sums
            raise

    def _add_up(self) -> None:
        kept, self._kept, self._answers = self._kept, [], 0
        for slot, answers in kept:
            for answer in answers:
                if isinstance(answer, Classification):
                    confidence = answer.scores[0]
                    key = (*slot, confidence_bin(confidence))
                elif isinstance(answer, Regression):
                    confidence, key = 0.0, (*slot, 0)
                else:
                    continue
                if key in self._sums or len(self._sums) < MAX_CELLS:
                    plus(self._sums, key, 1, confidence)
                else:
                    self._metrics.predictions_lost.inc()
