"""Prediction receipts: an id that carries what it says and a signature that only the gateway can make.

Layout, before base64url: format (1 byte), key id (BLAKE2b-24 of the key), BLAKE2b-64 of the model's name, version
(int64), variant (1 byte), kind (1 byte: c class, v value, n none), class index or value (8 bytes), confidence
(float32), time (microseconds since 1970, int64), nonce (8 bytes), keyed BLAKE2b-128 over it all. 88 characters.
"""

import base64
import hashlib
import hmac
import itertools
import math
import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from gateway.errors import InvalidReceipt

DEFAULT_LIFETIME = 90 * 86400.0
# Seconds by which the clocks of replicas may differ.
MAX_SKEW = 60.0
_FORMAT = 2
# What is the same for predictions made together, then what is each one's own: a class, or a value.
_HEAD = struct.Struct(">B3s8sqB")
_CLASS = struct.Struct(">cqfqQ")
_VALUE = struct.Struct(">cdfqQ")
_BODY_BYTES, _TAG_BYTES = _HEAD.size + _CLASS.size, 16
# No padding, so that receipts may be encoded in one piece.
_CHARACTERS = (_BODY_BYTES + _TAG_BYTES) // 3 * 4
_MIN_KEY_BYTES = 16

Outcome: TypeAlias = tuple[int | None, float | None, float]
"""What was predicted: a class's index and how sure that is, or a value, or neither."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says."""

    id: bytes
    """16 bytes that no other receipt has."""
    model: bytes
    """`model_digest` of the model's name."""
    version: int
    class_index: int | None
    value: float | None
    confidence: float
    time: float
    """Seconds since 1970, to the microsecond."""
    variant: int = 0


@cache
def model_digest(model: str) -> bytes:
    """The 8 bytes that stand for a model's name; of names that are served, so that the cache is bounded."""
    return hashlib.blake2b(model.encode(), digest_size=8).digest()


class Receipts:
    """Issues receipts with `key`, and checks those of `key` and of `fallbacks` that are not older than `lifetime` s."""

    def __init__(self, key: bytes, *fallbacks: bytes, lifetime: float = DEFAULT_LIFETIME) -> None:
        self._keyed: dict[bytes, list[hashlib.blake2b]] = {}
        for each in (key, *fallbacks):
            if not _MIN_KEY_BYTES <= len(each) <= hashlib.blake2b.MAX_KEY_SIZE:
                raise ValueError(f"a receipt key has {_MIN_KEY_BYTES} to {hashlib.blake2b.MAX_KEY_SIZE} bytes")
            self._keyed.setdefault(_key_id(each), []).append(hashlib.blake2b(key=each, digest_size=_TAG_BYTES))
        self._key_id = _key_id(key)
        self._signing = self._keyed[self._key_id][0]
        self.lifetime = lifetime
        # Unique is enough: what nobody can guess is the signature.
        self._nonces = itertools.count(int.from_bytes(os.urandom(8), "big") >> 1)

    def issue(self, model: bytes, version: int, outcomes: Iterable[Outcome], variant: int = 0) -> list[str]:
        """A new receipt for each of predictions made now; `model` is `model_digest` of its name."""
        head, now = _HEAD.pack(_FORMAT, self._key_id, model, version, variant), time.time_ns() // 1000
        tokens: list[bytes] = []
        for outcome in outcomes:
            body = head + _packed(*outcome, now, next(self._nonces))
            tokens += (body, _tag(self._signing, body))
        text = _encode(b"".join(tokens))
        return [text[start : start + _CHARACTERS] for start in range(0, len(text), _CHARACTERS)]

    def check(self, text: str) -> Receipt:
        """What the receipt says.

        InvalidReceipt if the text is none, is signed with no key of ours, was altered, is too old, or from the future.
        """
        try:
            token = base64.b64decode(text, altchars=b"-_", validate=True)
        except ValueError:
            token = b""
        # Base64 has several spellings of some bytes; a receipt has one, so that it counts once.
        if len(token) != _BODY_BYTES + _TAG_BYTES or token[0] != _FORMAT or _encode(token) != text:
            raise InvalidReceipt("the id is not one that a prediction had", reason="RECEIPT_MALFORMED")
        body, tag = token[:_BODY_BYTES], token[_BODY_BYTES:]
        _, key_id, model, version, variant = _HEAD.unpack_from(body)
        kind, index, confidence, microseconds, _ = _CLASS.unpack_from(body, _HEAD.size)
        keyed = self._keyed.get(key_id)
        if keyed is None:
            raise InvalidReceipt(
                "the id is signed with a key that is not, or no longer, known here", reason="RECEIPT_KEY_UNKNOWN"
            )
        if not any(hmac.compare_digest(tag, _tag(each, body)) for each in keyed):
            raise InvalidReceipt("the id's signature is wrong: it was altered or made up", reason="RECEIPT_FORGED")
        receipt = Receipt(
            tag,
            model,
            version,
            class_index=index if kind == b"c" else None,
            value=_VALUE.unpack_from(body, _HEAD.size)[1] if kind == b"v" else None,
            confidence=confidence,
            time=microseconds / 1e6,
            variant=variant,
        )
        self._check_time(receipt.time)
        return receipt

    def _check_time(self, issued: float) -> None:
        age = time.time() - issued
        if age < -MAX_SKEW:
            raise InvalidReceipt(
                f"the prediction is {-age:.0f} s in the future: a clock is wrong", reason="RECEIPT_FROM_FUTURE"
            )
        if age > self.lifetime:
            raise InvalidReceipt(
                f"the prediction is {age / 86400:.1f} days old; expected {self.lifetime / 86400:g} at most",
                reason="RECEIPT_EXPIRED",
            )


def _key_id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=3, person=b"receipt key").digest()


def _packed(class_index: int | None, value: float | None, confidence: float, now: int, nonce: int) -> bytes:
    try:
        if class_index is not None:
            return _CLASS.pack(b"c", class_index, confidence, now, nonce)
        if value is not None:
            return _VALUE.pack(b"v", value, confidence, now, nonce)
        return _CLASS.pack(b"n", 0, confidence, now, nonce)
    except OverflowError:
        # No float32.
        return _packed(class_index, value, math.copysign(math.inf, confidence), now, nonce)


def _tag(keyed: hashlib.blake2b, body: bytes) -> bytes:
    copy = keyed.copy()
    copy.update(body)
    return copy.digest()


def _encode(tokens: bytes) -> str:
    return base64.urlsafe_b64encode(tokens).decode()
