"""TFRecord files without TensorFlow: records with length and checksums (tensorflow/core/lib/io/record_writer.h)."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
# No file is trusted to say how much memory to take.
MAX_RECORD_BYTES = 1 << 30


class RecordError(ValueError):
    """A file that is no TFRecord file, or is damaged."""


def frame(record: bytes) -> bytes:
    """The record as it stands in a file; a file is such records one after another."""
    length = _LENGTH.pack(len(record))
    return b"".join((length, _CHECKSUM.pack(_masked(length)), record, _CHECKSUM.pack(_masked(record))))


def records(file: BinaryIO) -> Iterator[bytes]:
    """The records of an open file, one by one; RecordError names the one that is damaged or cut short."""
    number = 0
    while head := file.read(_LENGTH.size + _CHECKSUM.size):
        number += 1
        if len(head) < _LENGTH.size + _CHECKSUM.size:
            raise RecordError(f"record {number} is cut short")
        length = head[: _LENGTH.size]
        size = _LENGTH.unpack(length)[0]
        if _CHECKSUM.unpack_from(head, _LENGTH.size)[0] != _masked(length) or size > MAX_RECORD_BYTES:
            raise RecordError(f"record {number} is damaged; expected a TFRecord file, not compressed")
        body = file.read(size + _CHECKSUM.size)
        if len(body) < size + _CHECKSUM.size:
            raise RecordError(f"record {number} is cut short")
        record = body[:size]
        if _CHECKSUM.unpack_from(body, size)[0] != _masked(record):
            raise RecordError(f"record {number} is damaged: its checksum does not fit")
        yield record


def _masked(content: bytes) -> int:
    # Rotated and shifted, since a checksum of content that holds checksums would be weak.
    checksum: int = google_crc32c.value(content)
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF
