"""gateway.receipts"""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidReceipt
from gateway.receipts import Outcome, Receipts, model_digest

KEY = b"k" * 16
DIGITS = model_digest("digits")
receipts = Receipts(KEY)


def issued(outcome: Outcome = (None, None, 0.0), version: int = 1, *, variant: int = 0, by: Receipts = receipts) -> str:
    """A receipt for a prediction of the digits."""
    (text,) = by.issue(DIGITS, version, [outcome], variant)
    return text


@given(
    version=st.integers(-(2**63), 2**63 - 1),
    class_index=st.none() | st.integers(0, 2**31),
    value=st.none() | st.floats(allow_nan=False),
    confidence=st.floats(0, 1, width=32),
)
def test_round_trip(version: int, class_index: int | None, value: float | None, confidence: float) -> None:
    """A receipt says what it was issued for, in at most 96 characters that need no quoting."""
    if class_index is not None:
        value = None
    text = issued((class_index, value, confidence), version)
    receipt = receipts.check(text)
    assert (receipt.model, receipt.version, receipt.class_index) == (DIGITS, version, class_index)
    assert receipt.value == value
    assert receipt.confidence == pytest.approx(confidence)
    assert math.isclose(receipt.time, time.time(), abs_tol=60)
    assert len(text) <= 96
    assert text.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("confidence", [1e300, -1e300])
def test_beyond_float32(confidence: float) -> None:
    """A confidence that no float32 holds is infinite."""
    receipt = receipts.check(issued((3, None, confidence), variant=2))
    assert (receipt.class_index, receipt.variant) == (3, 2)
    assert receipt.confidence == math.copysign(math.inf, confidence)


def test_unique() -> None:
    """Two receipts for the same answer differ."""
    assert len(set(receipts.issue(DIGITS, 1, [(1, None, 0.0)] * 3))) == 3


def test_altered() -> None:
    """A receipt in which any character is another one is refused."""
    text = issued((3, None, 0.5))
    for place, character in enumerate(text):
        for other in "AB_":
            if other != character:
                with pytest.raises(InvalidReceipt):
                    receipts.check(text[:place] + other + text[place + 1 :])


@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda raw: raw.hex()))
def test_forged(text: str) -> None:
    """Whatever text is sent, it is refused with InvalidReceipt and nothing else."""
    with pytest.raises(InvalidReceipt):
        receipts.check(text)


def refusal(checking: Receipts, text: str) -> str:
    """The reason why `checking` does not take the receipt."""
    with pytest.raises(InvalidReceipt) as caught:
        checking.check(text)
    return caught.value.reason


def test_reasons() -> None:
    """Whoever sends a receipt that is not taken is told why: no receipt, another's, altered, made up."""
    text = issued((3, None, 0.5))
    other = "A" if text[-1] != "A" else "B"
    assert refusal(receipts, text[:-1]) == "RECEIPT_MALFORMED"
    assert refusal(receipts, text[:-1] + other) == "RECEIPT_FORGED"
    assert refusal(receipts, text[:40] + other + text[41:]) == "RECEIPT_FORGED"
    assert refusal(Receipts(b"o" * 16), text) == "RECEIPT_KEY_UNKNOWN"


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt holds for its lifetime; before it was made, but for clocks that differ by a minute, it does not."""
    checking, now = Receipts(KEY, lifetime=100), time.time_ns()
    text = issued()
    for age, reason in ((99, ""), (101, "RECEIPT_EXPIRED"), (-59, ""), (-61, "RECEIPT_FROM_FUTURE")):
        monkeypatch.setattr(time, "time", lambda age=age: now / 1e9 + age)
        if reason:
            assert refusal(checking, text) == reason
        else:
            assert checking.check(text).version == 1


def test_rotation() -> None:
    """The first key signs and every key checks, so that keys change without refusing what was issued."""
    old, new = Receipts(b"o" * 16, b"n" * 16), Receipts(b"n" * 16, b"o" * 16)
    for signing in (old, new):
        text = issued((None, 1.5, 0.0), 7, by=signing)
        for checking in (old, new):
            assert (checking.check(text).version, checking.check(text).value) == (7, 1.5)
    assert refusal(Receipts(b"n" * 16), issued(by=old)) == "RECEIPT_KEY_UNKNOWN"
    assert refusal(Receipts(b"o" * 16), issued(by=new)) == "RECEIPT_KEY_UNKNOWN"


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_key_size(key: bytes) -> None:
    """A key is neither guessable nor longer than BLAKE2b takes."""
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        Receipts(key)
