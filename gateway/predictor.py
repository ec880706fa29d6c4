"""The use case: instances or batches in, answers with receipts or tensors out. Knows no transport."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from gateway import receipts
from gateway.answers import Answer, Classification, Regression, to_answers
from gateway.backend import Array, Signature, Tensors
from gateway.catalog import Catalog, Servable
from gateway.errors import BackendFailed, GatewayError, InvalidInput, ModelNotFound, RequestTooLarge
from gateway.instances import Image, Instance, Pixels, Record, Row, check_batch, instances_of, records_to_rows, to_row
from gateway.metrics import Metrics
from gateway.observations import Observation, Observer
from gateway.receipts import Receipts
from gateway.router import Route, ask, signature_of
from gateway.split import Variant
from gateway.upstream import Upstream

# An image of at most this many bytes is decoded on the spot: handing it to a thread would cost more.
INLINE_BYTES = 2048
# So are rows of a table that hold this many values together.
INLINE_VALUES = 512


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
    sticky_key: str = ""
    """Has the same version asked again and again while a roll-out divides the traffic."""


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
    variant: Variant = Variant.STABLE


@dataclass(frozen=True, slots=True)
class Batch:
    """Input tensors with the batch dimension. An empty model, signature or a version of 0 mean the default one.

    A tensor of byte strings for an input of numbers holds encoded images, where the contract takes images; where it
    takes rows of a table, the inputs may be their columns.
    """

    model: str
    inputs: Tensors
    version: int = 0
    signature: str = ""
    sticky_key: str = ""


@dataclass(frozen=True, slots=True)
class Inference:
    """What came of a batch: its outputs, and where a contract says how to read them, a prediction for each row."""

    servable: Servable
    signature: Signature
    rows: int
    outputs: Tensors
    predictions: Sequence[Prediction] = ()
    variant: Variant = Variant.STABLE


class Predictor:
    """Answers queries: preprocesses, routes, batches, reads the outputs."""

    def __init__(
        self,
        catalog: Catalog,
        upstream: Upstream,
        receipts_: Receipts,
        metrics: Metrics,
        executor: Executor,
        *,
        max_instances: int,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._catalog = catalog
        self._upstream = upstream
        self._receipts = receipts_
        self._metrics = metrics
        self._executor = executor
        self._max_instances = max_instances
        self._observers = observers

    async def predict(self, query: Query, deadline: float) -> Result:
        """Answers every instance by one version. Raises what concerns the whole query, as a GatewayError.

        `deadline` is on the clock of time.monotonic.
        """
        if not query.instances:
            raise InvalidInput("the request has no instances; expected at least one", field="instances")
        self._check_count(len(query.instances), "instances")
        if query.top_k < 0:
            raise InvalidInput(f"top_k is {query.top_k}; expected 0 or more", field="top_k")
        route, predictions = await ask(
            self._catalog,
            query.model,
            query.version,
            lambda route: self._predict(route, query, route.deadline(deadline)),
            query.sticky_key,
        )
        return Result(route.servable, predictions, route.variant)

    async def infer(self, batch: Batch, deadline: float) -> Inference:
        """Answers a batch as a whole or not at all. Raises a GatewayError."""
        _, inference = await ask(
            self._catalog,
            batch.model,
            batch.version,
            lambda route: self._infer(route, batch, route.deadline(deadline)),
            batch.sticky_key,
        )
        return inference

    def observe(self, route: Route, inputs: Tensors, rows: int, outputs: Tensors) -> None:
        """Tells the observers of rows that were answered by the version's contract, but not here."""
        if self._observers and route.servable.contract is not None:
            # Outputs that are not what the contract says teach nobody anything.
            with contextlib.suppress(BackendFailed):
                answers = to_answers(outputs, rows, route.servable.contract.postprocessing, 1)
                self._observe(route, inputs, answers, outputs, ())

    def _check_count(self, instances: int, field: str) -> None:
        if instances > self._max_instances:
            raise RequestTooLarge(
                f"the request has {instances} instances; expected {self._max_instances} at most",
                reason="TOO_MANY_INSTANCES",
                field=field,
            )

    async def _infer(self, route: Route, batch: Batch, deadline: float) -> Inference:
        servable = route.servable
        signature = signature_of(servable, batch.signature)
        inputs = batch.inputs
        rows: list[Row] = []
        instances = instances_of(inputs, servable, signature)
        if instances:
            self._check_count(len(instances), "inputs")
            made = await self._rows(servable, signature, instances)
            for place, row in enumerate(made):
                if isinstance(row, GatewayError):
                    # A row of a table is spread over the inputs.
                    row.field = f"inputs[{'*' if isinstance(instances[place], Record) else 0}].contents[{place}]"
                    raise row
            rows = [row for row in made if not isinstance(row, GatewayError)]
            inputs = _stack(rows)
        count = check_batch(inputs, servable, signature)
        self._check_count(count, "inputs")
        contract = servable.contract
        if contract is None or signature.name != contract.signature:
            # Nobody says that the rows of such a model have nothing to do with one another.
            outputs = await self._upstream.alone(servable, signature, inputs, deadline)
            return Inference(servable, signature, count, outputs, variant=route.variant)
        outputs = await self._upstream.batched(servable, signature, inputs, deadline)
        rules = contract.postprocessing
        answers = to_answers(outputs, count, rules, 1) if rules.output is not None else []
        self._observe(route, inputs, answers, outputs, rows)
        predictions = [Prediction(self._receipt(route, answer), answer) for answer in answers]
        return Inference(servable, signature, count, outputs, predictions, route.variant)

    async def _predict(self, route: Route, query: Query, deadline: float) -> list[Prediction | GatewayError]:
        servable = route.servable
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
        contract = servable.contract
        rules = contract.postprocessing if contract and signature.name == contract.signature else None

        async def answer(places: list[int]) -> None:
            joined = [row for place in places if not isinstance(row := rows[place], GatewayError)]
            inputs = _stack(joined)
            try:
                outputs = await self._upstream.batched(servable, signature, inputs, deadline)
                answers = to_answers(outputs, len(places), rules, query.top_k)
            except ModelNotFound:
                raise
            except GatewayError as error:
                route.failed(error)
                for place in places:
                    predictions[place] = error
            else:
                if rules is not None:
                    self._observe(route, inputs, answers, outputs, joined)
                for place, value in zip(places, answers, strict=True):
                    predictions[place] = Prediction(self._receipt(route, value), value)

        await asyncio.gather(*(answer(places) for places in shapes.values()))
        return [prediction for prediction in predictions if prediction is not None]

    async def _rows(
        self, servable: Servable, signature: Signature, instances: Sequence[Instance | GatewayError]
    ) -> list[Row | GatewayError]:
        """Each instance's row, or what is wrong with it."""
        loop = asyncio.get_running_loop()
        convert = functools.partial(_row_or_error, servable=servable, signature=signature)
        # One hand-over for all that is heavy, split over the threads.
        own = servable.pipeline is not None and servable.pipeline.has_own
        heavy = [place for place, instance in enumerate(instances) if _is_heavy(instance, own=own)]
        pending = {place: loop.run_in_executor(self._executor, convert, instances[place]) for place in heavy}
        records = {place: instance for place, instance in enumerate(instances) if isinstance(instance, Record)}
        made: dict[int, Row | GatewayError] = {}
        if records:
            at_once = functools.partial(records_to_rows, list(records.values()), servable, signature)
            heavy_rows = own or sum(len(record.values) for record in records.values()) > INLINE_VALUES
            rows = await loop.run_in_executor(self._executor, at_once) if heavy_rows else at_once()
            made = dict(zip(records, rows, strict=True))
        return [
            made[place] if place in made else await pending[place] if place in pending else convert(instance)
            for place, instance in enumerate(instances)
        ]

    def _observe(
        self, route: Route, inputs: Tensors, answers: Sequence[Answer], outputs: Tensors, rows: Sequence[Row]
    ) -> None:
        if self._observers and answers:
            sources = [row.source for row in rows]
            observation = Observation(route.servable, route.variant, inputs, answers, outputs, sources)
            for observe in self._observers:
                observe(observation)

    def _receipt(self, route: Route, answer: Answer) -> str:
        servable, variant = route.servable, route.variant
        model = receipts.model_digest(servable.model)
        if isinstance(answer, Classification):
            best = answer.top[0]
            return self._receipts.issue(
                model, servable.version, class_index=best.class_index, confidence=best.score, variant=variant
            )
        value = answer.value if isinstance(answer, Regression) else None
        return self._receipts.issue(model, servable.version, value=value, variant=variant)


def _is_heavy(instance: Instance | GatewayError, *, own: bool) -> bool:
    """Whether an image is better decoded in a thread: it is large, or a step of one's `own` may take long."""
    if isinstance(instance, Image):
        return own or len(instance.encoded) > INLINE_BYTES
    return isinstance(instance, Pixels) and (own or instance.array.size > INLINE_BYTES)


def _row_or_error(instance: Instance | GatewayError, servable: Servable, signature: Signature) -> Row | GatewayError:
    if isinstance(instance, GatewayError):
        return instance
    try:
        return to_row(instance, servable, signature)
    except GatewayError as error:
        return error


def _stack(rows: Sequence[Row]) -> dict[str, Array]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
