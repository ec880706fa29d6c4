"""Random texts by the block: a system call for each of them would cost more than what they are for."""

import os
from collections.abc import Iterator

_PIECES = 512


class Randomness:
    """Texts of `size` random bytes each, from the operating system, in hexadecimal digits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: Iterator[str] = iter(())

    def draw(self) -> str:
        """A text that nobody else gets."""
        return next(self._pieces, "") or self._next_block()

    def _next_block(self) -> str:
        digits, length = os.urandom(self._size * _PIECES).hex(), 2 * self._size
        self._pieces = iter([digits[start : start + length] for start in range(0, len(digits), length)])
        return next(self._pieces)
