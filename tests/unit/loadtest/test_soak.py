"""loadtest.bench.soak: when memory is flat."""

import pytest

from loadtest.bench.load import Figure
from loadtest.bench.soak import Sample, growths

MIB = 1 << 20


def samples(*gateway: float) -> list[Sample]:
    """A soak in which the gateway took so many MiB, one after the other."""
    return [Sample(Figure(100.0, 0.01), {"gateway": round(size * MIB), "server": 300 * MIB}) for size in gateway]


@pytest.mark.parametrize(
    "sizes",
    [
        [100] * 12,
        # Caches that fill, a batch that was larger than others, a little more and more.
        [60, 90, 100, *[100] * 9],
        [*[100] * 9, 100, 180, 100],
        [100 + step / 2 for step in range(12)],
    ],
)
def test_flat(sizes: list[float]) -> None:
    """What stays about the same is flat, whatever it was at first or for a moment."""
    assert growths(samples(*sizes)) == []


def test_grown() -> None:
    """Whose memory stays larger is named, with what it was and may have been."""
    assert growths(samples(*range(100, 220, 10))) == [
        "the memory of the gateway grew from 140 to 200 MiB; expected 151 at most"
    ]
