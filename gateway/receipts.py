"""Prediction receipts: an id that carries what it says and a signature that only the gateway can make.

Layout, before base64url without padding: format and key number (1 byte each), BLAKE2b-64 of the model's name, version
(int64), variant (1 byte), kind (1 byte: c class, v value, n none), class index or value (8 bytes), confidence
(float32), time (milliseconds since 1970, 6 bytes), nonce (4 bytes), keyed BLAKE2b-128 over it all. 78 characters.
"""

import base64
import hashlib
import hmac
import struct
import time
from dataclasses import dataclass
from functools import cache

from gateway.randomness import Randomness

_FORMAT = 1
_BODY = struct.Struct(">BB8sqBc8sf6s4s")
_TAG_BYTES = 16
_MIN_KEY_BYTES = 16
_KEY_NUMBER = 0


class ReceiptError(ValueError):
    """A text that is no receipt of this gateway's."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says."""

    model: bytes
    """`model_digest` of the model's name."""
    version: int
    class_index: int | None
    value: float | None
    confidence: float
    time: float
    """Seconds since 1970, to the millisecond."""
    variant: int = 0


@cache
def model_digest(model: str) -> bytes:
    """The 8 bytes that stand for a model's name; of names that are served, so that the cache is bounded."""
    return hashlib.blake2b(model.encode(), digest_size=8).digest()


class Receipts:
    """Issues receipts, and checks them."""

    def __init__(self, key: bytes) -> None:
        if not _MIN_KEY_BYTES <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ValueError(f"a receipt key has {_MIN_KEY_BYTES} to {hashlib.blake2b.MAX_KEY_SIZE} bytes")
        self._random = Randomness(4)
        self._keyed = hashlib.blake2b(key=key, digest_size=_TAG_BYTES)

    def issue(
        self,
        model: bytes,
        version: int,
        *,
        class_index: int | None = None,
        value: float | None = None,
        confidence: float = 0.0,
        variant: int = 0,
    ) -> str:
        """A new receipt for one prediction made now; `model` is `model_digest` of its name."""
        if class_index is not None:
            kind, answer = b"c", struct.pack(">q", class_index)
        elif value is not None:
            kind, answer = b"v", struct.pack(">d", value)
        else:
            kind, answer = b"n", bytes(8)
        milliseconds = int(time.time() * 1e3).to_bytes(6, "big")
        body = _BODY.pack(
            _FORMAT,
            _KEY_NUMBER,
            model,
            version,
            variant,
            kind,
            answer,
            confidence,
            milliseconds,
            self._random.draw(),
        )
        return _encode(body + self._tag(body))

    def check(self, text: str) -> Receipt:
        """What the receipt says; ReceiptError if it was not issued with this key, or was altered."""
        try:
            token = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise ReceiptError("not a receipt") from None
        body, tag = token[: _BODY.size], token[_BODY.size :]
        # Base64 has several spellings of some bytes; a receipt has one, so that it counts once.
        if len(body) != _BODY.size or _encode(token) != text or not hmac.compare_digest(tag, self._tag(body)):
            raise ReceiptError("not a receipt of this gateway")
        _, _, model, version, variant, kind, answer, confidence, milliseconds, _ = _BODY.unpack(body)
        return Receipt(
            model,
            version,
            class_index=struct.unpack(">q", answer)[0] if kind == b"c" else None,
            value=struct.unpack(">d", answer)[0] if kind == b"v" else None,
            confidence=confidence,
            time=int.from_bytes(milliseconds, "big") / 1e3,
            variant=variant,
        )

    def _tag(self, body: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(body)
        return keyed.digest()


def _encode(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()
