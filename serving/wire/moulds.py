"""Requests that need no parsing.

Most requests of a client differ from the one before in nothing but a payload of the same length: pixels, a tensor, an
image. What is around the payloads, tags and lengths included, is compared with what was parsed once; if it is the same
bytes, then so is what it says, and the payloads are where they were.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

# Bytes of a request, and of it without the payloads, beyond which parsing is not what costs.
_MAX_REQUEST, _MAX_FRAME = 1 << 20, 1 << 12
# A payload shorter than this might stand in a request by chance.
_MIN_PAYLOAD = 16
# Lengths that are remembered, as a request is learnt only when one as long came before.
_MAX_LENGTHS = 1024
# Different requests of one length that are known.
_MAX_EACH = 4
# Bytes of memory for all that is known, and what a request takes of it besides its frame: itself, and each payload.
_MAX_KNOWN, _REQUEST, _PAYLOAD = 8 << 20, 1 << 10, 1 << 9

Said = TypeVar("Said")


class _Mould(NamedTuple, Generic[Said]):
    frame: Sequence[tuple[bytes, int]]
    """What is around the payloads: the bytes, and where they begin."""
    said: Said

    @property
    def size(self) -> int:
        """About the bytes of memory that it takes; the frame's are there as what they say, too."""
        return 2 * sum(len(piece) for piece, _ in self.frame) + _REQUEST + _PAYLOAD * len(self.frame)


class Moulds(Generic[Said]):
    """What requests say apart from their payloads, for those of the latest kinds."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[_Mould[Said], ...]] = {}
        """By the request's length."""
        self._size = 0
        self._lengths: dict[int, None] = {}

    def find(self, raw: bytes) -> Said | None:
        """What a request says; None if it must be parsed."""
        for frame, said in self._known.get(len(raw), ()):
            for piece, start in frame:
                if not raw.startswith(piece, start):
                    break
            else:
                return said
        return None

    def wants(self, raw: bytes) -> bool:
        """Whether to learn a request that was not known: another as long came lately, and parsing it is what costs."""
        length = len(raw)
        if length > _MAX_REQUEST or length in self._lengths:
            return length <= _MAX_REQUEST
        if len(self._lengths) == _MAX_LENGTHS:
            del self._lengths[next(iter(self._lengths))]
        self._lengths[length] = None
        return False

    def learn(
        self,
        raw: bytes,
        payloads: Sequence[bytes],
        said: Callable[[Sequence[slice]], Said],
        refilled: Callable[[Iterable[bytes]], Message],
    ) -> None:
        """Remembers a request that was parsed, as what it says with its payloads at these places of its bytes.

        `refilled` is its message with other payloads of the same lengths.
        """
        if not payloads or len(raw) - sum(map(len, payloads)) > _MAX_FRAME:
            return
        if min(map(len, payloads)) < _MIN_PAYLOAD:
            return
        # Random payloads show where payloads stand: nothing else in the message is like them.
        marks = [os.urandom(_MIN_PAYLOAD) * (len(payload) // _MIN_PAYLOAD + 1) for payload in payloads]
        marks = [mark[: len(payload)] for mark, payload in zip(marks, payloads, strict=True)]
        written = refilled(marks).SerializeToString()
        frame, places, end = [], [], 0
        for mark in marks:
            start = written.find(mark, end)
            if start < 0:
                return
            frame.append((written[end:start], end))
            end = start + len(mark)
            places.append(slice(start, end))
        frame.append((written[end:], end))
        # Some write a message in another way than protobuf's own libraries do; theirs are parsed each time.
        if len(written) != len(raw) or not all(raw.startswith(piece, start) for piece, start in frame):
            return
        mould, known = _Mould(frame, said(places)), self._known.pop(len(raw), ())
        self._known[len(raw)] = (mould, *known[: _MAX_EACH - 1])
        self._size += mould.size - sum(each.size for each in known[_MAX_EACH - 1 :])
        while self._size > _MAX_KNOWN:
            self._size -= sum(each.size for each in self._known.pop(next(iter(self._known))))
