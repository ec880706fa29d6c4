"""serving.transport.asgi.headers"""

from urllib.parse import unquote

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.transport.asgi.errors import CallError
from serving.transport.asgi.headers import quoted, timeout_seconds, to_headers, to_metadata

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
KEYS = st.text("09az_.-", min_size=1, max_size=9).map("x{}x".format)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"4S", 4), (b"500m", 0.5), (b"6u", 6e-6), (b"7n", 7e-9), (b"99999999H", 3.6e11)],
)
def test_timeouts(value: bytes, seconds: float) -> None:
    """A number of up to eight digits and a unit."""
    assert timeout_seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"5", b"S", b"-1S", b"1.5S", b"123456789S", b"1s", b"1 S", b"1S ", b"\xb2S"])
def test_bad_timeouts(value: bytes) -> None:
    """Anything else is INTERNAL."""
    with pytest.raises(CallError) as caught:
        timeout_seconds(value)
    assert caught.value.code is grpc.StatusCode.INTERNAL


@given(st.text())
def test_status_messages(text: str) -> None:
    """Any text becomes printable ASCII and comes back the same, but for what is no Unicode."""
    wire = quoted(text)
    assert all(0x20 <= byte <= 0x7E for byte in wire)
    assert unquote(wire.decode()) == text.encode(errors="replace").decode()


def test_status_messages_stay_readable() -> None:
    """Only the percent sign and what is not printable ASCII are encoded."""
    assert quoted("50% of 'größe'\n (ok)~") == b"50%25 of 'gr%C3%B6%C3%9Fe'%0A (ok)~"


@given(st.lists(st.one_of(st.tuples(KEYS, PRINTABLE), st.tuples(KEYS.map("{}-bin".format), st.binary())), max_size=5))
def test_metadata(metadata: list[tuple[str, str | bytes]]) -> None:
    """Metadata become headers and come back: in order, repeated keys and binary values too; spaces around text go."""
    back = tuple((key, value.strip() if isinstance(value, str) else value) for key, value in metadata)
    assert to_metadata(to_headers(metadata)) == back


def test_binary_values_on_the_wire() -> None:
    """Binary values are written without padding, and read with it, without it, and joined by commas."""
    assert to_headers([("a-bin", b"\0\1")]) == [(b"a-bin", b"AAE")]
    assert to_metadata([(b"a-bin", b"AAE,AAE=, /w")]) == (("a-bin", b"\0\1"), ("a-bin", b"\0\1"), ("a-bin", b"\xff"))
    with pytest.raises(CallError, match="no base64"):
        to_metadata([(b"a-bin", b"A*B")])


def test_the_protocols_own_headers_are_no_metadata() -> None:
    """Servicers see what callers send along, and nothing of gRPC or HTTP."""
    own = [b"te", b"host", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"]
    assert to_metadata([(name, b"x") for name in own] + [(b"user-agent", b"me")]) == (("user-agent", "me"),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Upper", "x"),
        ("", "x"),
        ("sp ace", "x"),
        (":path", "x"),
        ("grpc-status", "0"),
        ("te", "x"),
        ("x", "é"),
        ("x", "a\nb"),
    ],
)
def test_metadata_that_cannot_be_sent(key: str, value: str) -> None:
    """A key or text that would break the protocol is the servicer's error."""
    with pytest.raises(ValueError, match="metadata key"):
        to_headers([(key, value)])
