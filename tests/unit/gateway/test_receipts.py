"""gateway.receipts"""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.receipts import ReceiptError, Receipts, model_digest

KEY = b"k" * 16
DIGITS = model_digest("digits")
receipts = Receipts(KEY)


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
    text = receipts.issue(DIGITS, version, class_index=class_index, value=value, confidence=confidence)
    receipt = receipts.check(text)
    assert (receipt.model, receipt.version, receipt.class_index) == (DIGITS, version, class_index)
    assert receipt.value == value
    assert receipt.confidence == pytest.approx(confidence)
    assert math.isclose(receipt.time, time.time(), abs_tol=60)
    assert len(text) <= 96
    assert text.replace("-", "").replace("_", "").isalnum()


def test_unique() -> None:
    """Two receipts for the same answer differ."""
    assert receipts.issue(DIGITS, 1, class_index=1) != receipts.issue(DIGITS, 1, class_index=1)


def test_altered() -> None:
    """A receipt in which any character is another one is refused."""
    text = receipts.issue(DIGITS, 1, class_index=3, confidence=0.5)
    for place, character in enumerate(text):
        for other in "AB_":
            if other != character:
                with pytest.raises(ReceiptError):
                    receipts.check(text[:place] + other + text[place + 1 :])


@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda raw: raw.hex()))
def test_forged(text: str) -> None:
    """Whatever text is sent, it is refused with ReceiptError and nothing else."""
    with pytest.raises(ReceiptError):
        receipts.check(text)


def test_other_key() -> None:
    """A receipt of another key is refused."""
    with pytest.raises(ReceiptError):
        Receipts(b"o" * 16).check(receipts.issue(DIGITS, 1))


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_key_size(key: bytes) -> None:
    """A key is neither guessable nor longer than BLAKE2b takes."""
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        Receipts(key)
