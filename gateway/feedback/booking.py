"""From what a caller sends to what is booked: the receipt is checked, and the label must be one of the version's."""

import math
import time
from dataclasses import dataclass

from gateway.auth.principal import Principal
from gateway.errors import InvalidInput, InvalidReceipt
from gateway.feedback.labels import MAX_VALUE, Label
from gateway.feedback.store import Task
from gateway.feedback.tasks import Tasks
from gateway.receipts import MAX_SKEW, Receipt, Receipts

_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a caller says of a prediction: exactly one of label, class_index and value."""

    id: str
    label: str | None = None
    """A class by name."""
    class_index: int | None = None
    value: float | None = None
    observed_at: float | None = None
    """When the truth was known, in seconds since 1970; None for now."""


def to_label(feedback: Feedback, receipts: Receipts, tasks: Tasks, principal: Principal) -> Label:
    """What is to be booked.

    InvalidReceipt, ModelNotFound, PermissionDenied, InvalidInput (the label) or FeedbackUnavailable.
    """
    receipt = receipts.check(feedback.id)
    model = tasks.model(receipt.model)
    principal.require("feedback", model)
    if receipt.class_index is None and receipt.value is None:
        raise InvalidReceipt("the prediction was neither a class nor a value", reason="PREDICTION_RAW")
    task = tasks.task(model, receipt.version)
    if task is None:
        raise InvalidInput(
            f"what the labels of {model} version {receipt.version} are is not known: no contract of it was ever seen",
            reason="VERSION_UNKNOWN",
        )
    label_class, label_value = _truth(feedback, receipt, task)
    return Label(
        receipt.id,
        model,
        receipt.version,
        receipt.variant,
        receipt.confidence,
        receipt.time,
        _observed_at(feedback, receipt),
        # PostgreSQL's texts have no NUL; names of tokens' subjects are anybody's.
        principal.client.replace("\0", "")[:_MAX_NAME],
        predicted_class=receipt.class_index,
        predicted_value=receipt.value,
        label_class=label_class,
        label_value=label_value,
    )


def _truth(feedback: Feedback, receipt: Receipt, task: Task) -> tuple[int | None, float | None]:
    if receipt.value is not None:
        if feedback.value is None:
            raise InvalidInput("the prediction is a value; expected `value`", reason="LABEL_KIND")
        for value in (feedback.value, receipt.value):
            if not math.isfinite(value) or abs(value) > MAX_VALUE:
                raise InvalidInput(
                    f"{value:g} cannot be compared; expected a number between ±{MAX_VALUE:g}",
                    reason="LABEL_NOT_FINITE",
                    field="value",
                )
        return None, feedback.value
    if feedback.value is not None or (feedback.label is None and feedback.class_index is None):
        raise InvalidInput("the prediction is a class; expected `label` or `class_index`", reason="LABEL_KIND")
    classes = len(task.labels)
    if feedback.label is not None:
        if feedback.label not in task.labels:
            some = ", ".join(map(repr, task.labels[:10])) + (", …" if classes > 10 else "")  # noqa: PLR2004  # enough
            raise InvalidInput(
                f"{feedback.label[:100]!r} is none of the {classes} classes: {some}",
                reason="LABEL_UNKNOWN",
                field="label",
            )
        return task.labels.index(feedback.label), None
    assert feedback.class_index is not None
    if not 0 <= feedback.class_index < classes:
        raise InvalidInput(
            f"class_index is {feedback.class_index}; expected 0 to {classes - 1}",
            reason="LABEL_UNKNOWN",
            field="class_index",
        )
    return feedback.class_index, None


def _observed_at(feedback: Feedback, receipt: Receipt) -> float:
    now = time.time()
    if feedback.observed_at is None:
        return max(now, receipt.time)
    if feedback.observed_at > now + MAX_SKEW:
        raise InvalidInput(
            f"observed_at is {feedback.observed_at - now:.0f} s in the future",
            reason="LABEL_FROM_FUTURE",
            field="observed_at",
        )
    return max(feedback.observed_at, receipt.time)
