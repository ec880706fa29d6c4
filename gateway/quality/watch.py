"""Keeps the qualities of the served models at hand: for the metrics, and for who asks."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from gateway.errors import FeedbackUnavailable
from gateway.feedback.ledger import Ledger
from gateway.quality import report
from gateway.quality.report import Quality

log = structlog.get_logger("gateway.quality")

# Seconds for which one reading answers everybody.
_FRESH = 1.0


class QualityWatch:
    """Reads each model's qualities in the background."""

    def __init__(self, ledger: Ledger, models: Callable[[], Sequence[str]]) -> None:
        self._ledger = ledger
        self._models = models
        self._read: dict[str, tuple[float, list[Quality]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def latest(self) -> Mapping[str, list[Quality]]:
        """What was last read of each served model."""
        return {model: self._read[model][1] for model in self._models() if model in self._read}

    async def qualities(self, model: str) -> list[Quality]:
        """The qualities of a served model as of now. FeedbackUnavailable if the database is away."""
        async with self._locks.setdefault(model, asyncio.Lock()):
            read = self._read.get(model)
            if read is None or time.monotonic() - read[0] > _FRESH:
                work = partial(report.read, model=model)
                read = time.monotonic(), await self._ledger.read(lambda store: store.read(work))
                self._read[model] = read
            return read[1]

    async def run(self, interval: float) -> None:
        """Reads every `interval` seconds, until cancelled."""
        while True:
            for model in self._models():
                try:
                    await self.qualities(model)
                except FeedbackUnavailable as error:
                    log.warning("qualities stay as they were", model=model, message=error.private)
                except Exception:
                    # Whatever is wrong with one reading, the next may be right.
                    log.exception("qualities stay as they were", model=model)
            await asyncio.sleep(interval)
