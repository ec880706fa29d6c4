"""loadtest.bench.scale: how a cost grows."""

from pathlib import Path

import pytest

from loadtest.bench import scale


def points(power: float) -> list[scale.Point]:
    """Costs that grow by a power."""
    return [scale.Point(x, 1000 / x, 1e-4 * x**power, 1 << 30) for x in (1, 8, 64, 512)]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_exponent(power: float) -> None:
    """The power that costs grow by is found."""
    assert scale.exponent(points(power)) == pytest.approx(power, abs=1e-9)


def test_plot(tmp_path: Path) -> None:
    """Every axis is drawn."""
    scale._plot(tmp_path / "scale.png", {"clients": points(0), "rows": points(1)})
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
