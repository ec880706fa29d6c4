"""Answers that were given before: for models whose answer depends on their input alone."""

import hashlib
import itertools
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from gateway.backend import Array, Signature, Tensors
from gateway.catalog import Servable

# What an entry takes beside its arrays' data, roughly.
OVERHEAD = 512
_ELEMENT = 64

Key = tuple[int, str, bytes]


class ResponseCache:
    """Outputs by version, signature and hash of the inputs, up to `max_bytes`; what was asked last stays longest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: LRUCache[Key, Tensors] = LRUCache(max_bytes, getsizeof=_size)
        # A version that is loaded again may have other files: its answers are new ones.
        self._numbers: WeakKeyDictionary[Servable, int] = WeakKeyDictionary()
        self._next_number = itertools.count()

    def key(self, servable: Servable, signature: Signature, inputs: Tensors) -> Key | None:
        """Where the answer to the inputs is kept; None for inputs that are not numbers."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(inputs):
            array = inputs[name]
            if array.dtype.hasobject:
                return None
            digest.update(f"{name!r} {array.dtype.str} {array.shape} ".encode())
            digest.update(array.tobytes())
        if servable not in self._numbers:
            self._numbers[servable] = next(self._next_number)
        return self._numbers[servable], signature.name, digest.digest()

    def get(self, key: Key) -> Tensors | None:
        """The outputs, not to be written to; None if there are none."""
        return self._entries.get(key)

    def put(self, key: Key, outputs: Tensors) -> None:
        """Keeps a copy of the outputs, unless they alone would be too much."""
        if _size(outputs) <= self._max_bytes:
            # A copy: the outputs are parts of a whole batch's arrays, which would be kept with them.
            self._entries[key] = {name: _frozen(array) for name, array in outputs.items()}


def _frozen(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _size(outputs: Tensors) -> int:
    size = OVERHEAD
    for array in outputs.values():
        size += array.nbytes
        if array.dtype.hasobject:
            size += sum(len(item) + _ELEMENT for item in array.flat)
    return size
