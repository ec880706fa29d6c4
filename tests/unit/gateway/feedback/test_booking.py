"""gateway.feedback.booking"""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.principal import Principal
from gateway.errors import GatewayError, InvalidInput, InvalidReceipt, ModelNotFound, PermissionDenied
from gateway.feedback.booking import Feedback, to_label
from gateway.feedback.labels import Label
from gateway.feedback.store import Task
from gateway.receipts import Outcome, Receipts, model_digest

receipts = Receipts(b"k" * 16)
CALLER = Principal("caller", frozenset({"feedback:digits", "feedback:price"}))


class FakeTasks:
    """Versions 1 of `digits`, with three classes, and of `price`."""

    def model(self, digest: bytes) -> str:
        for name in ("digits", "price", "secret"):
            if model_digest(name) == digest:
                return name
        raise ModelNotFound("none")

    def task(self, model: str, version: int) -> Task | None:
        if version != 1:
            return None
        return Task("regression") if model == "price" else Task("classification", ("zero", "one", "two"))


def book(
    model: str = "digits",
    version: int = 1,
    outcome: Outcome = (1, None, 0.5),
    variant: int = 0,
    principal: Principal = CALLER,
    **fields: Any,
) -> Label:
    """What is booked for a prediction."""
    (text,) = receipts.issue(model_digest(model), version, [outcome], variant)
    return to_label(Feedback(text, **fields), receipts, FakeTasks(), principal)  # type: ignore[arg-type]


def test_label() -> None:
    """A label has what the receipt says, the class by name or place, and who sent it."""
    label = book(variant=1, label="two", principal=Principal("a\0b" + "c" * 300, CALLER.scopes))
    assert (label.model, label.version, label.variant, label.confidence) == ("digits", 1, 1, 0.5)
    assert (label.predicted_class, label.label_class, label.predicted_value, label.label_value) == (1, 2, None, None)
    assert label.client.startswith("abccc")
    assert len(label.client) <= 256
    assert label.observed_at == pytest.approx(time.time(), abs=60)
    assert book(class_index=0).label_class == 0
    price = book("price", outcome=(None, 2.5, 0.0), value=3.0)
    assert (price.predicted_value, price.label_value, price.label_class) == (2.5, 3.0, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "LABEL_KIND"),
        ({"value": 1.0}, "LABEL_KIND"),
        ({"label": "three"}, "LABEL_UNKNOWN"),
        ({"label": ""}, "LABEL_UNKNOWN"),
        ({"class_index": 3}, "LABEL_UNKNOWN"),
        ({"class_index": -1}, "LABEL_UNKNOWN"),
        ({"label": "one", "version": 2}, "VERSION_UNKNOWN"),
        ({"label": "one", "observed_at": 4e9}, "LABEL_FROM_FUTURE"),
        ({"label": "one", "observed_at": float("inf")}, "LABEL_FROM_FUTURE"),
    ],
)
def test_bad_labels(fields: Any, reason: str) -> None:
    """A label that is none of the version's is refused, with the reason."""
    with pytest.raises(InvalidInput) as caught:
        book(**fields)
    assert caught.value.reason == reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e76])
def test_bad_values(value: float) -> None:
    """A value that could not be summed is refused, be it the label or the prediction; a class is no value."""
    for predicted, fields in ((1.0, {"value": value}), (value, {"value": 1.0})):
        with pytest.raises(InvalidInput) as caught:
            book("price", outcome=(None, predicted, 0.0), **fields)
        assert caught.value.reason == "LABEL_NOT_FINITE"
    with pytest.raises(InvalidInput, match="expected `value`"):
        book("price", outcome=(None, 1.0, 0.0), label="one")


def test_rights() -> None:
    """Rights come before what the gateway knows of a version, and predicting gives none."""
    for principal in (Principal("x", frozenset({"predict:*"})), Principal("x", frozenset({"feedback:price"}))):
        with pytest.raises(PermissionDenied):
            book(version=9, label="one", principal=principal)
    with pytest.raises(PermissionDenied):
        book("secret", label="one")
    with pytest.raises(ModelNotFound):
        book("elsewhere", label="one")
    with pytest.raises(InvalidReceipt, match="neither a class nor a value"):
        book(outcome=(None, None, 0.5), label="one")


def test_times() -> None:
    """A truth that was known before the prediction counts as known at its time."""
    label = book(label="one", observed_at=5.0)
    assert label.observed_at == label.predicted_at


@given(
    st.text(max_size=120),
    st.none() | st.text(max_size=20),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.floats(),
    st.none() | st.floats(allow_nan=False),
)
def test_hostile(text: str, label: Any, class_index: Any, value: Any, observed_at: Any) -> None:
    """Whatever is sent, it is booked or refused with a typed error."""
    good = receipts.issue(model_digest("digits"), 1, [(1, None, 0.0)])[0]
    for identity in (text, good):
        try:
            booked = to_label(
                Feedback(identity, label, class_index, value, observed_at),
                receipts,
                FakeTasks(),  # type: ignore[arg-type]
                CALLER,
            )
        except GatewayError:
            continue
        assert booked.label_class in (0, 1, 2)
        assert booked.observed_at >= booked.predicted_at
