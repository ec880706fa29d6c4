"""Calls to the model server: one for the rows of many requests, or one for each request."""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import finalize

from gateway.backend import Backend, Signature, Tensors
from gateway.batcher import Batcher
from gateway.catalog import Servable
from gateway.errors import DeadlineExceeded
from gateway.finite import check_finite
from gateway.metrics import Metrics
from gateway.response_cache import Key, ResponseCache


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How rows are gathered into upstream calls; see `batcher`."""

    max_rows: int
    max_in_flight: int
    max_queued_rows: int


class Watcher(Protocol):
    """Follows requests into the calls that they share."""

    def mark(self) -> Any:
        """What the request that is being answered is known by."""

    def sent(self, waits: Sequence[float], marks: Sequence[Any]) -> None:
        """Called in the context of a call: the rows of these requests leave with it, after so many seconds."""


class Upstream:
    """The backend as the use cases call it. `deadline` is on the clock of time.monotonic; every call is timed."""

    def __init__(
        self,
        backend: Backend,
        metrics: Metrics,
        batch: BatchLimits,
        cache: ResponseCache | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._batch = batch
        self._cache = cache
        self._watcher = watcher
        # By the servable's identity, and the signature; a version's queues go when the catalog forgets the version.
        self._batchers: dict[tuple[int, str], Batcher] = {}

    def batched(self, servable: Servable, signature: Signature, rows: Tensors, deadline: float) -> Awaitable[Tensors]:
        """The outputs for rows that may travel with other requests' rows; NotFinite for NaN if there is a contract."""
        key = self._cache.key(servable, signature, rows) if self._cache else None
        if self._cache is None or key is None:
            return self._submit(servable, signature, rows, deadline)
        return self._cached(self._cache, key, servable, lambda: self._submit(servable, signature, rows, deadline))

    async def _cached(
        self, cache: ResponseCache, key: Key, servable: Servable, ask: Callable[[], Awaitable[Tensors]]
    ) -> Tensors:
        known = cache.get(key)
        self._metrics.cache_lookups.labels(servable.model, "miss" if known is None else "hit").inc()
        if known is None:
            known = await ask()
            cache.put(key, known)
        return known

    def _submit(self, servable: Servable, signature: Signature, rows: Tensors, deadline: float) -> Awaitable[Tensors]:
        key = id(servable), signature.name
        batcher = self._batchers.get(key)
        if batcher is None:
            batcher = self._batchers[key] = self._new_batcher(servable, signature.name)
            finalize(servable, self._batchers.pop, key)
        return batcher.submit(rows, deadline, self._watcher.mark() if self._watcher else None)

    async def alone(self, servable: Servable, signature: Signature, inputs: Tensors, deadline: float) -> Tensors:
        """The outputs for inputs that travel by themselves."""
        with self._timed(servable.model):
            return await self._backend.predict(
                servable.model, servable.version, signature.name, inputs, _time_left(deadline)
            )

    async def forward(self, model: str, method: str, request: bytes, deadline: float) -> bytes:
        """The answer to a request of TensorFlow Serving's protocol, neither of them parsed."""
        with self._timed(model):
            return await self._backend.forward(method, request, _time_left(deadline))

    def _new_batcher(self, servable: Servable, signature: str) -> Batcher:
        # Nothing that lives as long as the queue may hold the servable.
        model, version = servable.model, servable.version
        observe_rows = self._metrics.batch_rows.of(model)
        observe_wait = self._metrics.stage_seconds.of(model, "queue")

        async def send(inputs: Tensors, timeout: float) -> Tensors:
            with self._timed(model):
                return await self._backend.predict(model, version, signature, inputs, timeout)

        def on_batch(count: int, waits: list[float], marks: list[Any]) -> None:
            observe_rows(count)
            for wait in waits:
                observe_wait(wait)
            if self._watcher:
                self._watcher.sent(waits, marks)

        return Batcher(
            send,
            max_rows=self._batch.max_rows,
            max_in_flight=self._batch.max_in_flight,
            max_queued_rows=self._batch.max_queued_rows,
            # Where no contract says what numbers mean, NaN may be one.
            check=None if servable.contract is None else check_finite,
            on_batch=on_batch,
        )

    @contextmanager
    def _timed(self, model: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._metrics.stage_seconds.of(model, "upstream")(time.perf_counter() - started)


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("the deadline had passed before the model was asked")
    return left
