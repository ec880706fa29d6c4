"""Messages on the wire: a byte that says whether the message is compressed, its length in four bytes, the message."""

import struct
import zlib

import grpc

from serving.transport.asgi.errors import CallError

_PREFIX = struct.Struct(">BI")
_MAX_LENGTH = 2**32 - 1
# zlib's name for each encoding: gRPC's deflate has zlib's header.
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
ACCEPTED_ENCODINGS = b"identity, deflate, gzip"


class Frames:
    """Cuts the bytes of a body into messages and decompresses them.

    A message beyond `max_bytes` (-1: any) is refused by its length, before it is gathered, and by what it unpacks to,
    as soon as that is seen. `feed` and `pop` raise CallError for bytes that are no messages, after the messages before.
    """

    def __init__(self, max_bytes: int, encoding: bytes = b"identity") -> None:
        if encoding != b"identity" and encoding not in _WINDOW_BITS:
            raise CallError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"the message encoding {encoding.decode('latin-1')!r} is not supported; "
                f"expected one of {ACCEPTED_ENCODINGS.decode()}",
            )
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._buffer = bytearray()
        self._whole: bytes | None = None
        """The one message that is there, if it came by itself and as it is: most do."""
        # Of the message at the buffer's front, once its prefix is there.
        self._length = -1
        self._compressed = False
        self._broken: CallError | None = None
        """What follows the messages that were taken is none."""

    def only(self, data: bytes) -> bytes | None:
        """The message, if `data` is the whole body and holds one that may be, uncompressed; nothing is kept."""
        return data[_PREFIX.size :] if self._is_whole(data) else None

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the body."""
        if self._is_whole(data):
            self._whole = data[_PREFIX.size :]
            return
        if self._whole is not None:
            self._buffer += framed(self._whole)
            self._whole = None
        self._buffer += data
        self._look()

    @property
    def ready(self) -> bool:
        """Whether there is a whole message, or an error to be told."""
        return (
            self._whole is not None or 0 <= self._length <= len(self._buffer) - _PREFIX.size or self._broken is not None
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is there, not even a part of a message."""
        return not self._buffer and self._whole is None

    def pop(self) -> bytes:
        """The next message; one must be ready."""
        if self._whole is not None:
            message, self._whole = self._whole, None
            return message
        if self._broken is not None:
            raise self._broken
        end = _PREFIX.size + self._length
        with memoryview(self._buffer) as view:
            message = bytes(view[_PREFIX.size : end])
        del self._buffer[:end]
        if self._compressed:
            message = self._decompressed(message)
        self._length = -1
        try:
            self._look()
        except CallError as error:
            self._broken = error
        return message

    def _is_whole(self, data: bytes) -> bool:
        """Whether `data` is one message that may be, uncompressed, and nothing else is there."""
        length = len(data) - _PREFIX.size
        if length < 0 or self._buffer or self._whole is not None or 0 <= self._max_bytes < length:
            return False
        return _PREFIX.unpack_from(data) == (0, length)

    def _look(self) -> None:
        if self._length >= 0 or len(self._buffer) < _PREFIX.size:
            return
        flag, length = _PREFIX.unpack_from(self._buffer)
        if flag > 1:
            raise CallError(grpc.StatusCode.INTERNAL, f"the message begins with {flag:#04x}; expected 0x00 or 0x01")
        if flag and self._encoding == b"identity":
            raise CallError(grpc.StatusCode.INTERNAL, "the message is compressed, but no grpc-encoding says how it was")
        if 0 <= self._max_bytes < length:
            raise self._too_large(f"{length} bytes")
        self._compressed, self._length = bool(flag), length

    def _decompressed(self, message: bytes) -> bytes:
        limited = self._max_bytes >= 0
        decompressor = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            # One byte more than may be, so that what is larger shows; zlib takes 0 for no limit.
            plain = decompressor.decompress(message, self._max_bytes + 1 if limited else 0)
        except zlib.error as error:
            raise CallError(grpc.StatusCode.INTERNAL, f"the message does not decompress: {error}") from None
        if limited and len(plain) > self._max_bytes:
            raise self._too_large("more")
        if not decompressor.eof or decompressor.unused_data:
            raise CallError(grpc.StatusCode.INTERNAL, f"the message is not one whole {self._encoding.decode()} stream")
        return plain

    def _too_large(self, size: str) -> CallError:
        return CallError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"received a message larger than max ({size} vs. {self._max_bytes} bytes)",
        )


def framed(message: bytes, encoding: bytes = b"identity") -> bytes:
    """The message as it goes onto the wire; ValueError if it is too large for any message."""
    if encoding != b"identity":
        compressor = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
        message = compressor.compress(message) + compressor.flush()
    if len(message) > _MAX_LENGTH:
        raise ValueError(f"a message of {len(message)} bytes; expected {_MAX_LENGTH} at most")
    return _PREFIX.pack(encoding != b"identity", len(message)) + message
