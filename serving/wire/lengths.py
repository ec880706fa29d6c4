"""What messages put together of bytes need of protobuf's encoding."""

from functools import lru_cache


@lru_cache(4096)
def length(count: int) -> bytes:
    """The length of a field of texts, bytes or messages, as it stands before it: a varint."""
    encoded = bytearray()
    while count >= 0x80:  # noqa: PLR2004  # seven bits a byte; the eighth says that more follow
        encoded.append(count & 0x7F | 0x80)
        count >>= 7
    encoded.append(count)
    return bytes(encoded)
