"""Random bytes by the block: a system call for each few of them would cost more than what they are for."""

import os
from collections.abc import Iterator

_PIECES = 512


class Randomness:
    """Pieces of `size` bytes each, from the operating system."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: Iterator[bytes] = iter(())

    def draw(self) -> bytes:
        """A piece that nobody else gets."""
        piece = next(self._pieces, None)
        if piece is None:
            block = os.urandom(self._size * _PIECES)
            self._pieces = iter([block[start : start + self._size] for start in range(0, len(block), self._size)])
            piece = next(self._pieces)
        return piece
