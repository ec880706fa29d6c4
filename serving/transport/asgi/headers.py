"""HTTP/2 headers as gRPC reads and writes them: time-outs, status messages, metadata."""

import base64
import binascii
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

import grpc

from serving.transport.asgi.errors import CallError

Headers = list[tuple[bytes, bytes]]
Metadata = tuple[tuple[str, str | bytes], ...]

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# What may stand as it is in grpc-message: printable ASCII but the percent sign.
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_KEY = re.compile(r"[0-9a-z_.-]+")
# Bytes of a header; what a longer one stands for is not kept.
_MAX_KNOWN = 256
# What is the protocol's and no caller's: servicers see none of it, and must not send it.
RESERVED = frozenset(
    {
        b"connection",
        b"content-length",
        b"content-type",
        b"grpc-accept-encoding",
        b"grpc-encoding",
        b"grpc-message",
        b"grpc-status",
        b"grpc-timeout",
        b"host",
        b"te",
        b"transfer-encoding",
        b"x-forwarded-client-cert",
    }
)


def timeout_seconds(value: bytes) -> float:
    """What grpc-timeout says; CallError if that is nothing."""
    matched = _TIMEOUT.fullmatch(value)
    if not matched:
        raise CallError(
            grpc.StatusCode.INTERNAL,
            f"grpc-timeout is {value.decode('latin-1')!r}; expected up to 8 digits and one of H, M, S, m, u, n",
        )
    return int(matched[1]) * _SECONDS[matched[2]]


def quoted(details: str) -> bytes:
    """A status message for grpc-message: UTF-8, percent-encoded."""
    return quote(details, safe=_UNQUOTED, errors="replace").encode("ascii")


def to_metadata(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """The callers' metadata among `headers`: in order, repeated keys too; values of keys in -bin are bytes.

    What HTTP carries and gRPC does not is left out: a servicer may send back what it was sent. CallError if a value of
    a key in -bin is no base64.
    """
    entries: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name not in RESERVED:
            known = len(name) + len(value) <= _MAX_KNOWN
            entries += _entries(name, value) if known else _entries.__wrapped__(name, value)
    return tuple(entries)


@lru_cache(1024)
def _entries(name: bytes, value: bytes) -> Metadata:
    """The entries that one header stands for: most calls have the same headers as the one before."""
    key = name.decode("latin-1")
    if not _KEY.fullmatch(key):
        return ()
    if key.endswith("-bin"):
        # Hosts and proxies may join the values of a repeated key.
        return tuple([(key, _unbase64(key, part)) for part in value.split(b",")])
    if value.isascii() and (text := value.decode("ascii")).isprintable():
        return ((key, text.strip()),)
    return ()


def to_headers(metadata: Iterable[tuple[str, str | bytes]]) -> Headers:
    """Metadata as headers. ValueError for a key or a text value that HTTP/2 or gRPC would not carry."""
    headers: Headers = []
    for key, value in metadata:
        name, is_binary = _name(key)
        if is_binary:
            binary = value.encode() if isinstance(value, str) else value
            headers.append((name, base64.b64encode(binary).rstrip(b"=")))
            continue
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if not (text.isascii() and text.isprintable()):
            raise ValueError(f"the value of the metadata key {key!r}; expected printable ASCII, or a key in -bin")
        headers.append((name, text.encode()))
    return headers


@lru_cache(1024)
def _name(key: str) -> tuple[bytes, bool]:
    """The header of a metadata key, and whether its values are any bytes; ValueError for one that may not be."""
    name = key.encode()
    if not _KEY.fullmatch(key) or name in RESERVED:
        raise ValueError(f"the metadata key {key!r}; expected 0-9, a-z, _, -, . and none of gRPC's own")
    return name, key.endswith("-bin")


def _unbase64(key: str, value: bytes) -> bytes:
    value = value.strip()
    try:
        # Padding may be there or not.
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise CallError(grpc.StatusCode.INTERNAL, f"the value of the metadata key {key!r} is no base64") from None
