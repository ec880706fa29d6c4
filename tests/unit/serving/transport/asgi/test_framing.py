"""serving.transport.asgi.framing"""

import gzip
import itertools
import struct
import zlib

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.transport.asgi.errors import CallError
from serving.transport.asgi.framing import Frames, framed
from tests.fakes.asgi_host import frame

ENCODINGS = [b"identity", b"deflate", b"gzip"]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in parts."""
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def take(frames: Frames, data: bytes) -> bytes:
    """The message in `data`."""
    frames.feed(data)
    return frames.pop()


def messages(frames: Frames) -> list[bytes]:
    """The messages that are there."""
    found = []
    while frames.ready:
        found.append(frames.pop())
    return found


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 10**6), max_size=8), st.data())
def test_any_cut(sent: list[bytes], cuts: list[int], data: st.DataObject) -> None:
    """However the body is cut up, and however its messages are encoded, they come out whole and in order."""
    encoding = data.draw(st.sampled_from(ENCODINGS))
    compressed = [data.draw(st.booleans()) for _ in sent]
    body = b"".join(framed(m, encoding if c else b"identity") for m, c in zip(sent, compressed, strict=True))
    frames = Frames(300, encoding)
    received = []
    for part in cut(body, cuts):
        frames.feed(part)
        received += messages(frames)
    assert received == sent
    assert frames.empty


@given(st.binary(max_size=200), st.lists(st.integers(0, 10**6), max_size=4), st.sampled_from(ENCODINGS))
def test_hostile_bytes(body: bytes, cuts: list[int], encoding: bytes) -> None:
    """Any bytes are messages within the limit, or a CallError."""
    frames = Frames(50, encoding)
    for part in cut(body, cuts):
        try:
            frames.feed(part)
            received = messages(frames)
        except CallError as error:
            refused = error.code
            break
        assert all(len(message) <= 50 for message in received)
    else:
        return
    assert refused in (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_a_large_length_is_refused_by_the_prefix() -> None:
    """Four gigabytes are refused by their prefix, before a byte of them is there."""
    with pytest.raises(CallError) as caught:
        Frames(1000).feed(struct.pack(">BI", 0, 2**32 - 1))
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details == "received a message larger than max (4294967295 bytes vs. 1000 bytes)"


def test_the_limit_itself_is_allowed() -> None:
    """The largest message is taken, also when it is compressed; one byte more is not."""
    for encoding in ENCODINGS:
        frames = Frames(1000, encoding)
        frames.feed(framed(b"x" * 1000, encoding))
        assert len(frames.pop()) == 1000
        with pytest.raises(CallError, match="larger than max"):
            take(frames, framed(b"x" * 1001, encoding))


@pytest.mark.parametrize("encoding", [b"deflate", b"gzip"])
def test_a_bomb_is_defused(encoding: bytes) -> None:
    """A small message that unpacks to a large one is refused."""
    frames = Frames(1 << 20, encoding)
    frames.feed(framed(bytes(20 << 20), encoding))
    with pytest.raises(CallError) as caught:
        frames.pop()
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no gzip", "does not decompress"),
        (gzip.compress(b"x", mtime=0)[:-4], "not one whole gzip stream"),
        (gzip.compress(b"x", mtime=0) + b"more", "not one whole gzip stream"),
        (zlib.compress(b"x"), "does not decompress"),
        (b"", "not one whole gzip stream"),
    ],
)
def test_broken_compression(content: bytes, text: str) -> None:
    """What does not unpack is INTERNAL, as the specification has it."""
    frames = Frames(-1, b"gzip")
    frames.feed(frame(content, 1))
    with pytest.raises(CallError, match=text) as caught:
        frames.pop()
    assert caught.value.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(("prefix", "text"), [(b"\x02\0\0\0\0", "0x02"), (b"\x01\0\0\0\0", "no grpc-encoding")])
def test_flags(prefix: bytes, text: str) -> None:
    """A flag that there is none of, and one for compression where none was announced, are INTERNAL."""
    with pytest.raises(CallError, match=text) as caught:
        Frames(-1).feed(prefix)
    assert caught.value.code is grpc.StatusCode.INTERNAL


def test_an_unknown_encoding() -> None:
    """An encoding that is not supported is UNIMPLEMENTED, and the message names those that are."""
    with pytest.raises(CallError, match="'br' is not supported; expected one of identity, deflate, gzip") as caught:
        Frames(-1, b"br")
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
