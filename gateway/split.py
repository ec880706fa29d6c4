"""How a model's default traffic is divided between two versions while one of them is on trial."""

import enum
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

_RANGE = 2.0**64


class Variant(enum.IntEnum):
    """What a version was to a roll-out when it answered; the number stands in the prediction's receipt."""

    STABLE = 0
    CANDIDATE = 1
    SHADOW = 2


class Witness(Protocol):
    """Who hears how stable and candidate do; on the event loop, within microseconds, never raising."""

    def answered(self, variant: Variant, seconds: float, *, failed: bool) -> None:
        """One call to a version has ended."""

    def mirror(self, ask_candidate: Callable[[], Awaitable[Any]], answer: Any) -> None:
        """Stable gave `answer`; `ask_candidate` puts the same question to the candidate, if there is room for that."""


@dataclass(frozen=True, slots=True)
class Split:
    """The part of a roll-out plan that routing needs. Without a candidate all goes to stable."""

    stable: int
    witness: Witness
    candidate: int | None = None
    share: float = 0.0
    """Of the default traffic, 0 to 1: what the candidate answers, or in the shadow what it is shown a copy of."""
    shadow: bool = False
    salt: bytes = b""
    """What makes one roll-out pick other callers than the next; the same on every replica."""

    def picks_candidate(self, sticky_key: str) -> bool:
        """Whether a request is the candidate's: by its key, everywhere and at larger shares alike, else by lot."""
        if not sticky_key:
            return random.random() < self.share  # noqa: S311  # a lot, and no secret
        digest = hashlib.blake2b(sticky_key.encode("utf-8", "surrogatepass"), digest_size=8, key=self.salt).digest()
        return int.from_bytes(digest, "big") < self.share * _RANGE
