"""The use case: instances or batches in, answers with receipts or tensors out. Knows no transport."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from gateway import receipts
from gateway.answers import Answer, Classification, Regression, of_all_rows, to_answers
from gateway.backend import Signature, Tensors
from gateway.batch import Part
from gateway.catalog import Catalog, Servable
from gateway.errors import BackendFailed, GatewayError, InvalidInput, ModelNotFound, NotFinite, RequestTooLarge
from gateway.finite import check_finite
from gateway.instances import Instances, Record, Row, check_batch, instances_of
from gateway.metrics import Metrics
from gateway.observations import Observation, Observer
from gateway.preprocessor import Preprocessor
from gateway.receipts import Receipts
from gateway.router import Route, ask, signature_of
from gateway.rows import Rows, RowStack, by_shape, fault, stacked
from gateway.split import Variant
from gateway.upstream import Upstream


class Query(NamedTuple):
    """What a caller asks. An empty model, signature or a version of 0 mean the default one."""

    model: str
    instances: Instances
    version: int = 0
    signature: str = ""
    top_k: int = 0
    sticky_key: str = ""
    """Has the same version asked again and again while a roll-out divides the traffic."""


class Prediction(NamedTuple):
    """The answer to one instance, with its receipt."""

    receipt: str
    answer: Answer


Predictions = Sequence[Prediction | GatewayError]
"""For each instance a prediction, or the error that is its own."""


class Batch(NamedTuple):
    """Input tensors with the batch dimension. An empty model, signature or a version of 0 mean the default one.

    A tensor of byte strings for an input of numbers holds encoded images, where the contract takes images; where it
    takes rows of a table, the inputs may be their columns.
    """

    model: str
    inputs: Tensors
    version: int = 0
    signature: str = ""
    sticky_key: str = ""


class Inference(NamedTuple):
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
        self._preprocessor = Preprocessor(executor, sources=bool(observers))
        self._max_instances = max_instances
        self._observers = observers

    def predict(self, query: Query, deadline: float) -> Awaitable[tuple[Route, Predictions]]:
        """Answers every instance by one version. Raises what concerns the whole query, as a GatewayError.

        `deadline` is on the clock of time.monotonic.
        """
        count = len(query.instances)
        if not count:
            raise InvalidInput("the request has no instances; expected at least one", field="instances")
        self._check_count(count, "instances")
        if query.top_k < 0:
            raise InvalidInput(f"top_k is {query.top_k}; expected 0 or more", field="top_k")
        return ask(
            self._catalog,
            query.model,
            query.version,
            lambda route: self._predict(route, query, route.deadline(deadline)),
            query.sticky_key,
        )

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
                answers = to_answers(outputs, rows, route.servable.contract.postprocessing, 0)
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
            waiting = self._preprocessor.rows(servable, signature, instances)
            made = waiting if isinstance(waiting, (list, RowStack)) else await waiting
            for place, row in enumerate(made):
                if isinstance(row, GatewayError):
                    # A row of a table is spread over the inputs.
                    row.field = f"inputs[{'*' if isinstance(instances[place], Record) else 0}].contents[{place}]"
                    raise row
            rows = [row for row in made if not isinstance(row, GatewayError)]
            inputs = stacked(rows)
        count = check_batch(inputs, signature)
        self._check_count(count, "inputs")
        contract = servable.contract
        if contract is None or signature.name != contract.signature:
            if contract is not None:
                check_finite(inputs)
            # Nobody says that the rows of such a model have nothing to do with one another.
            outputs = await self._upstream.alone(servable, signature, inputs, deadline)
            return Inference(servable, signature, count, outputs, variant=route.variant)
        outputs = await self._upstream.batched(servable, signature, inputs, deadline)
        rules = contract.postprocessing
        answers = to_answers(outputs, count, rules, 0) if rules.output is not None else []
        self._observe(route, inputs, answers, outputs, rows)
        predictions = self._signed(route, answers, outputs)
        return Inference(servable, signature, count, outputs, predictions, route.variant)

    def _predict(self, route: Route, query: Query, deadline: float) -> Awaitable[Predictions]:
        servable = route.servable
        signature = signature_of(servable, query.signature)
        started = time.perf_counter()
        rows = self._preprocessor.rows(servable, signature, query.instances)
        if isinstance(rows, (list, RowStack)):
            self._metrics.stage_seconds.of(servable.model, "preprocess")(time.perf_counter() - started)
            return self._each(route, signature, rows, query.top_k, deadline)

        async def preprocessed() -> Predictions:
            made = await rows
            self._metrics.stage_seconds.of(servable.model, "preprocess")(time.perf_counter() - started)
            return await self._each(route, signature, made, query.top_k, deadline)

        return preprocessed()

    def _each(
        self, route: Route, signature: Signature, rows: Rows | RowStack, top_k: int, deadline: float
    ) -> Awaitable[Predictions]:
        """The prediction for each row, or what is wrong with it."""
        if isinstance(rows, RowStack):
            return self._answers(route, signature, rows, top_k, deadline)
        if len(rows) == 1 and isinstance(rows[0], Row):
            return self._answers(route, signature, [rows[0]], top_k, deadline)
        return self._by_groups(route, signature, rows, top_k, deadline)

    async def _by_groups(
        self, route: Route, signature: Signature, rows: Rows, top_k: int, deadline: float
    ) -> Predictions:
        predictions: list[Prediction | GatewayError | None] = [
            row if isinstance(row, GatewayError) else None for row in rows
        ]

        async def answer(places: list[int]) -> None:
            together = [row for place in places if not isinstance(row := rows[place], GatewayError)]
            answers = await self._answers(route, signature, together, top_k, deadline)
            for place, prediction in zip(places, answers, strict=True):
                predictions[place] = prediction

        await asyncio.gather(*map(answer, by_shape(rows)))
        return [prediction for prediction in predictions if prediction is not None]

    async def _answers(
        self, route: Route, signature: Signature, rows: Sequence[Row] | RowStack, top_k: int, deadline: float
    ) -> Predictions:
        """The predictions for rows of one shape, or for each of them what went wrong with all."""
        servable = route.servable
        contract = servable.contract
        rules = contract.postprocessing if contract and signature.name == contract.signature else None
        inputs = stacked(rows)
        try:
            outputs = await self._upstream.batched(servable, signature, inputs, deadline)
            answers = to_answers(outputs, len(rows), rules, top_k)
        except ModelNotFound:
            raise
        except NotFinite as error:
            if len(rows) == 1:
                return [error]
            faults = [fault(row) for row in rows]
            good = [row for row, wrong in zip(rows, faults, strict=True) if wrong is None]
            answered = iter(await self._answers(route, signature, good, top_k, deadline) if good else ())
            return [wrong or next(answered) for wrong in faults]
        except GatewayError as error:
            route.failed(error)
            return [error] * len(rows)
        if rules is not None:
            self._observe(route, inputs, answers, outputs, () if isinstance(rows, RowStack) else rows)
        return self._signed(route, answers, outputs)

    def _observe(
        self, route: Route, inputs: Tensors, answers: Sequence[Answer], outputs: Tensors, rows: Sequence[Row]
    ) -> None:
        if self._observers and answers:
            sources = [row.source for row in rows]
            observation = Observation(route.servable, route.variant, inputs, answers, outputs, sources)
            for observe in self._observers:
                observe(observation)

    def _signed(self, route: Route, answers: Sequence[Answer], outputs: Tensors) -> list[Prediction]:
        """Each answer with a receipt; of a part of a batch the whole batch has its receipts made at once."""
        if not isinstance(outputs, Part) or (everybody := of_all_rows(outputs)) is None:
            return self._with_receipts(route, answers)
        predictions: list[Prediction] | None = outputs.batch.predictions.get(route.variant)
        if predictions is None:
            predictions = outputs.batch.predictions[route.variant] = self._with_receipts(route, everybody)
        mine = predictions[outputs.start : outputs.start + outputs.rows]
        if mine[0].answer is answers[0]:
            return mine
        # Another number of classes was asked for.
        return [Prediction(prediction.receipt, answer) for prediction, answer in zip(mine, answers, strict=True)]

    def _with_receipts(self, route: Route, answers: Sequence[Answer]) -> list[Prediction]:
        model, version = receipts.model_digest(route.servable.model), route.servable.version
        ids = self._receipts.issue(model, version, map(_outcome, answers), route.variant)
        return list(map(Prediction._make, zip(ids, answers, strict=True)))


def _outcome(answer: Answer) -> receipts.Outcome:
    if isinstance(answer, Classification):
        return answer.classes[0], None, answer.scores[0]
    return None, answer.value if isinstance(answer, Regression) else None, 0.0
