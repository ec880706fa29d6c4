"""Sends requests at a bounded rate, several at once, and sums up what came of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc
import grpc.aio

from gateway.replay.agreement import agreement
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import TensorError
from serving.wire.tensorflow_serving_pb2_grpc import PredictionServiceStub
from tensorgate.channel import OPTIONS, Target


@dataclass(frozen=True)
class Plan:
    """What is sent where."""

    target: Target
    metadata: tuple[tuple[str, str], ...] = ()
    """Of each request."""
    model: str = ""
    """Default: the model that each request was captured for."""
    version: int = 0
    """Default: the one that the other side routes to."""
    rate: float = 0.0
    """Requests a second; 0 for as many as `concurrency` allows."""
    concurrency: int = 8
    """Requests under way at once, at most."""
    timeout: float = 10.0
    """Seconds for each."""
    compare: int | None = None
    """A version whose answers are compared with; None for those that were recorded."""


@dataclass
class Outcome:
    """What came of all requests."""

    errors: Counter[str] = field(default_factory=Counter)
    """By the status code's name."""
    texts: dict[str, str] = field(default_factory=dict)
    """The first message of each code."""
    seconds: list[float] = field(default_factory=list)
    """Of the requests that were answered."""
    rows: int = 0
    """That could be compared."""
    agreed: int = 0
    distance: float = 0.0
    uncompared: int = 0
    """Requests that were answered where no answer was recorded."""

    @property
    def requests(self) -> int:
        """How many were sent."""
        return len(self.seconds) + self.errors.total()

    @property
    def agreement(self) -> float | None:
        """Share of rows that agree; None if there was nothing to compare."""
        return self.agreed / self.rows if self.rows else None


async def send(requests: Iterable[tfs.PredictLog], plan: Plan) -> Outcome:
    """Sends all requests; what fails is counted."""
    outcome, room = Outcome(), asyncio.Semaphore(plan.concurrency)
    credentials = plan.target.credentials()
    channel = (
        grpc.aio.secure_channel(plan.target.address, credentials, options=OPTIONS)
        if credentials
        else grpc.aio.insecure_channel(plan.target.address, options=OPTIONS)
    )
    async with channel, asyncio.TaskGroup() as group:
        stub = PredictionServiceStub(channel)

        async def one(log: tfs.PredictLog) -> None:
            try:
                await _one(stub, log, plan, outcome)
            except grpc.aio.AioRpcError as error:
                _fail(outcome, error.code().name, error.details() or "")
            except TensorError as error:
                _fail(outcome, "UNREADABLE", str(error))
            finally:
                room.release()

        started = time.monotonic()
        for number, log in enumerate(requests):
            if plan.rate:
                # Due at its time, whatever became of those before.
                await asyncio.sleep(max(0.0, started + number / plan.rate - time.monotonic()))
            await room.acquire()
            group.create_task(one(log))
    return outcome


async def _one(stub: PredictionServiceStub, log: tfs.PredictLog, plan: Plan, outcome: Outcome) -> None:
    started = time.perf_counter()
    response = await _predict(stub, log.request, plan, plan.version)
    seconds = time.perf_counter() - started
    expected = log.response if plan.compare is None else await _predict(stub, log.request, plan, plan.compare)
    if expected.outputs:
        found = agreement(expected, response)
        outcome.rows += found.rows
        outcome.agreed += found.agreed
        outcome.distance = max(outcome.distance, found.distance)
    else:
        outcome.uncompared += 1
    outcome.seconds.append(seconds)


async def _predict(
    stub: PredictionServiceStub, captured: tfs.PredictRequest, plan: Plan, version: int
) -> tfs.PredictResponse:
    request = tfs.PredictRequest()
    request.CopyFrom(captured)
    request.model_spec.name = plan.model or captured.model_spec.name
    request.model_spec.ClearField("version_choice")
    if version:
        request.model_spec.version.value = version
    call = stub.Predict(request, timeout=plan.timeout, metadata=plan.metadata)
    response: tfs.PredictResponse = await call  # type: ignore[misc]  # the stubs know channels that block
    return response


def _fail(outcome: Outcome, code: str, text: str) -> None:
    outcome.errors[code] += 1
    outcome.texts.setdefault(code, text)
