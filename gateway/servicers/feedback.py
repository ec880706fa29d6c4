"""tensorgate.v1.FeedbackService."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from gateway.call import current_call
from gateway.errors import GatewayError, InvalidInput, Overloaded, RequestTooLarge
from gateway.feedback.booking import Feedback, to_label
from gateway.feedback.labels import Label, Outcome
from gateway.feedback.ledger import Ledger
from gateway.feedback.metrics import FeedbackMetrics
from gateway.feedback.tasks import Tasks
from gateway.receipts import Receipts
from gateway.servicers.instance_errors import instance_error
from tensorgate.v1 import feedback_service_pb2 as pb
from tensorgate.v1.feedback_service_pb2_grpc import FeedbackServiceServicer

NAME = "tensorgate.v1.FeedbackService"
_OUTCOMES = {
    Outcome.BOOKED: pb.FEEDBACK_OUTCOME_BOOKED,
    Outcome.CHANGED: pb.FEEDBACK_OUTCOME_CHANGED,
    Outcome.UNCHANGED: pb.FEEDBACK_OUTCOME_UNCHANGED,
}
_MAX_REFUSALS = 100
# Labels of one stream that are read while others are being written.
_WINDOW = 2000
# Seconds after which a stream that found no room looks again.
_PATIENCE = 0.05


class FeedbackServicer(FeedbackServiceServicer):
    """SubmitFeedback and StreamFeedback."""

    def __init__(
        self, ledger: Ledger, receipts: Receipts, tasks: Tasks, metrics: FeedbackMetrics, *, max_labels: int
    ) -> None:
        self._ledger = ledger
        self._receipts = receipts
        self._tasks = tasks
        self._metrics = metrics
        self._max_labels = max_labels

    async def SubmitFeedback(self, request: pb.SubmitFeedbackRequest, context: Any) -> pb.SubmitFeedbackResponse:
        """Books one or several labels."""
        if not request.feedback:
            raise InvalidInput("the request has no feedback; expected at least one label", field="feedback")
        found = self._labels(request.feedback)
        call = current_call.get()
        errors = [each for each in found if isinstance(each, GatewayError)]
        call.instances, call.failed_instances = len(found), len(errors)
        if len(errors) == len(found):
            raise errors[0]
        outcomes = iter(await self._ledger.book([each for each in found if isinstance(each, Label)]))
        return pb.SubmitFeedbackResponse(
            results=[
                pb.FeedbackResult(outcome=_OUTCOMES[next(outcomes)])
                if isinstance(each, Label)
                else pb.FeedbackResult(error=instance_error(each))
                for each in found
            ]
        )

    async def StreamFeedback(
        self, requests: AsyncIterator[pb.StreamFeedbackRequest], context: Any
    ) -> pb.StreamFeedbackResponse:
        """Books a stream of labels, a batch being written while the next is read."""
        summary = pb.StreamFeedbackResponse()
        call = current_call.get()
        waiting: list[Label] = []
        writing: asyncio.Task[list[Outcome]] | None = None
        try:
            async for found in self._messages(requests):
                for each in found:
                    if isinstance(each, GatewayError):
                        _refuse(summary, each)
                    else:
                        waiting.append(each)
                    summary.received += 1
                call.instances, call.failed_instances = summary.received, summary.refused
                if writing is None or writing.done() or len(waiting) >= _WINDOW:
                    if writing is not None:
                        _count(summary, await writing)
                    writing, waiting = asyncio.ensure_future(self._book(waiting)), []
            if writing is not None:
                _count(summary, await writing)
            writing = asyncio.ensure_future(self._book(waiting))
            _count(summary, await writing)
        except GatewayError as error:
            error.metadata["stored"] = str(summary.booked + summary.changed + summary.unchanged)
            raise
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
        return summary

    async def _messages(
        self, requests: AsyncIterator[pb.StreamFeedbackRequest]
    ) -> AsyncIterator[list[Label | GatewayError]]:
        """The labels of each message, or what is wrong with them; a message that cannot be taken is one error."""
        while True:
            try:
                found = self._labels((await anext(requests)).feedback)
            except StopAsyncIteration:
                return
            except (InvalidInput, RequestTooLarge) as error:
                yield [error]
            else:
                yield found

    async def _book(self, labels: list[Label]) -> list[Outcome]:
        """Books them when there is room: a stream is held up, and not refused."""
        while True:
            try:
                return await self._ledger.book(labels)
            except Overloaded:
                await asyncio.sleep(_PATIENCE)

    def _labels(self, feedback: Sequence[pb.Feedback]) -> list[Label | GatewayError]:
        """The label in each, or what is wrong with it. RequestTooLarge if there are too many."""
        if len(feedback) > self._max_labels:
            raise RequestTooLarge(
                f"the message has {len(feedback)} labels; expected {self._max_labels} at most",
                reason="TOO_MANY_LABELS",
                field="feedback",
            )
        call = current_call.get()
        found: list[Label | GatewayError] = []
        for place, message in enumerate(feedback):
            try:
                label = to_label(_feedback(message), self._receipts, self._tasks, call.principal)
            except GatewayError as error:
                error.field = f"feedback[{place}].{error.field or 'id'}"
                self._metrics.refusals.labels(error.reason).inc()
                found.append(error)
            else:
                call.model, call.version = label.model, label.version
                found.append(label)
        return found


def _feedback(message: pb.Feedback) -> Feedback:
    kind = message.WhichOneof("truth")
    truth = {kind: getattr(message, kind)} if kind else {}
    time = message.observed_at
    observed_at = time.seconds + time.nanos / 1e9 if message.HasField("observed_at") else None
    return Feedback(message.id, observed_at=observed_at, **truth)


def _count(summary: pb.StreamFeedbackResponse, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        setattr(summary, outcome.value, getattr(summary, outcome.value) + 1)


def _refuse(summary: pb.StreamFeedbackResponse, error: GatewayError) -> None:
    summary.refused += 1
    if len(summary.refusals) < _MAX_REFUSALS:
        summary.refusals.add(sequence=summary.received, error=instance_error(error))
