"""The use case: instances in, answers with receipts out. Knows no transport."""

import asyncio
import functools
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from gateway import receipts
from gateway.answers import Answer, Classification, Regression, to_answers
from gateway.backend import Array, Backend, Signature, Tensors
from gateway.batcher import Batcher
from gateway.catalog import Catalog, Servable
from gateway.errors import GatewayError, InvalidInput, ModelNotFound, NotReady, RequestTooLarge
from gateway.instances import Image, Instance, Pixels, Row, to_row
from gateway.metrics import Metrics
from gateway.receipts import Receipts
from gateway.router import RETRY_AFTER, route, signature_of

# An image of at most this many bytes is decoded on the spot: handing it to a thread would cost more.
INLINE_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks. An empty model, signature or a version of 0 mean the default one.

    An instance that the protocol could not read stands as its error, so that its neighbours keep their places.
    """

    model: str
    instances: Sequence[Instance | GatewayError]
    version: int = 0
    signature: str = ""
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one instance, with its receipt."""

    receipt: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a query: for each instance a prediction, or the error that is its own."""

    servable: Servable
    predictions: list[Prediction | GatewayError]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How rows are gathered into upstream calls; see `batcher`."""

    max_rows: int
    max_in_flight: int
    max_queued_rows: int


class Predictor:
    """Answers queries: preprocesses, routes, batches, reads the outputs."""

    def __init__(
        self,
        catalog: Catalog,
        backend: Backend,
        receipts_: Receipts,
        metrics: Metrics,
        executor: Executor,
        *,
        batch: BatchLimits,
        max_instances: int,
    ) -> None:
        self._catalog = catalog
        self._backend = backend
        self._receipts = receipts_
        self._metrics = metrics
        self._executor = executor
        self._batch = batch
        self._max_instances = max_instances
        # A version's queues go when the catalog forgets the version.
        self._batchers: WeakKeyDictionary[Servable, dict[str, Batcher]] = WeakKeyDictionary()

    async def predict(self, query: Query, deadline: float) -> Result:
        """Answers every instance by one version. Raises what concerns the whole query, as a GatewayError.

        `deadline` is on the clock of time.monotonic.
        """
        if not query.instances:
            raise InvalidInput("the request has no instances; expected at least one", field="instances")
        if len(query.instances) > self._max_instances:
            raise RequestTooLarge(
                f"the request has {len(query.instances)} instances; expected {self._max_instances} at most",
                reason="TOO_MANY_INSTANCES",
                field="instances",
            )
        if query.top_k < 0:
            raise InvalidInput(f"top_k is {query.top_k}; expected 0 or more", field="top_k")
        servable = route(self._catalog, query.model, query.version)
        try:
            return await self._predict(servable, query, deadline)
        except ModelNotFound as error:
            if error.field is not None:
                raise
            # The backend has dropped the version since the last poll: see what there is now.
            await self._catalog.refresh(servable.model)
            successor = route(self._catalog, query.model, query.version)
            if successor is servable:
                raise NotReady(
                    f"version {servable.version} of the model {servable.model!r} is being replaced; retry later",
                    retry_after=RETRY_AFTER,
                ) from error
            return await self._predict(successor, query, deadline)

    async def _predict(self, servable: Servable, query: Query, deadline: float) -> Result:
        signature = signature_of(servable, query.signature)
        started = time.perf_counter()
        rows = await self._rows(servable, signature, query.instances)
        self._metrics.stage_seconds.labels(servable.model, "preprocess").observe(time.perf_counter() - started)
        # Rows of one shape travel together; where the model leaves sizes open there may be several.
        shapes: dict[object, list[int]] = {}
        for place, row in enumerate(rows):
            if not isinstance(row, GatewayError):
                shapes.setdefault(tuple((name, array.shape) for name, array in sorted(row.items())), []).append(place)
        predictions: list[Prediction | GatewayError | None] = [
            row if isinstance(row, GatewayError) else None for row in rows
        ]
        batcher = self._batcher(servable, signature)
        contract = servable.contract
        rules = contract.postprocessing if contract and signature.name == contract.signature else None

        async def answer(places: list[int]) -> None:
            inputs = _stack([row for place in places if not isinstance(row := rows[place], GatewayError)])
            try:
                outputs = await batcher.submit(inputs, deadline)
                answers = to_answers(outputs, len(places), rules, query.top_k)
            except ModelNotFound:
                raise
            except GatewayError as error:
                for place in places:
                    predictions[place] = error
            else:
                for place, value in zip(places, answers, strict=True):
                    predictions[place] = Prediction(self._receipt(servable, value), value)

        await asyncio.gather(*(answer(places) for places in shapes.values()))
        return Result(servable, [prediction for prediction in predictions if prediction is not None])

    async def _rows(
        self, servable: Servable, signature: Signature, instances: Sequence[Instance | GatewayError]
    ) -> list[Row | GatewayError]:
        """Each instance's row, or what is wrong with it."""
        loop = asyncio.get_running_loop()
        convert = functools.partial(_row_or_error, servable=servable, signature=signature)
        # One hand-over for all that is heavy, split over the threads.
        heavy = [place for place, instance in enumerate(instances) if _is_heavy(instance)]
        pending = {place: loop.run_in_executor(self._executor, convert, instances[place]) for place in heavy}
        return [
            await pending[place] if place in pending else convert(instance) for place, instance in enumerate(instances)
        ]

    def _batcher(self, servable: Servable, signature: Signature) -> Batcher:
        queues = self._batchers.setdefault(servable, {})
        if signature.name not in queues:
            queues[signature.name] = self._new_batcher(servable.model, servable.version, signature.name)
        return queues[signature.name]

    def _new_batcher(self, model: str, version: int, signature: str) -> Batcher:
        rows = self._metrics.batch_rows.labels(model)
        queue = self._metrics.stage_seconds.labels(model, "queue")
        upstream = self._metrics.stage_seconds.labels(model, "upstream")

        async def send(inputs: Tensors, timeout: float) -> Tensors:
            with upstream.time():
                return await self._backend.predict(model, version, signature, inputs, timeout)

        def on_batch(count: int, waits: list[float]) -> None:
            rows.observe(count)
            for wait in waits:
                queue.observe(wait)

        return Batcher(
            send,
            max_rows=self._batch.max_rows,
            max_in_flight=self._batch.max_in_flight,
            max_queued_rows=self._batch.max_queued_rows,
            on_batch=on_batch,
        )

    def _receipt(self, servable: Servable, answer: Answer) -> str:
        model = receipts.model_digest(servable.model)
        if isinstance(answer, Classification):
            best = answer.top[0]
            return self._receipts.issue(model, servable.version, class_index=best.class_index, confidence=best.score)
        value = answer.value if isinstance(answer, Regression) else None
        return self._receipts.issue(model, servable.version, value=value)


def _is_heavy(instance: Instance | GatewayError) -> bool:
    if isinstance(instance, Image):
        return len(instance.encoded) > INLINE_BYTES
    return isinstance(instance, Pixels) and instance.array.size > INLINE_BYTES


def _row_or_error(instance: Instance | GatewayError, servable: Servable, signature: Signature) -> Row | GatewayError:
    if isinstance(instance, GatewayError):
        return instance
    try:
        return to_row(instance, servable, signature)
    except GatewayError as error:
        return error


def _stack(rows: Sequence[Row]) -> dict[str, Array]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
