"""What the gateway must reach beside a bare grpc.aio echo in the same run, and whether it did."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.figure import Figure as Canvas

from loadtest.bench.load import Figure

AIO, ENVOY = "grpc.aio", "envoy"
CROWD, ALONE = "8 × 16 streams", "one stream"
# Least calls a second as a share of the echo's, by transport and case.
RATES = {
    AIO: {
        "tensor": 0.40,
        "pixels": 0.40,
        "PNG": 0.33,
        "OIP": 0.35,
        "TFS": 0.25,
        "no-op backend": 0.60,
        "32 PNGs": 0.18,
    },
    ENVOY: {"tensor": 1.7, "pixels": 1.7, "PNG": 1.2, "OIP": 1.5, "no-op backend": 2.5, "32 tensors": 0.18},
}
# Most time that half of the calls take, one after the other, as a multiple of the echo's.
TIMES = {AIO: 4.0, ENVOY: 3.0}

Key = tuple[str, str, str]
"""Transport, case and load."""
Pair = tuple[Figure, Figure]
"""What a round came to, and the echo right before it: machines change their speed from one minute to the next."""


@dataclass(frozen=True)
class Judged:
    """A figure beside the echo's: a rate in a crowd, which has a floor, or a time alone, which has a bound."""

    transport: str
    case: str
    load: str
    figure: Figure
    ratio: float
    floor: float | None

    @property
    def missed(self) -> bool:
        """Whether there is a floor, and the figure is on its wrong side."""
        return self.floor is not None and (self.ratio > self.floor if self.load == ALONE else self.ratio < self.floor)


def judge(measured: dict[Key, list[Pair]]) -> list[Judged]:
    """What was measured, by transport, case and load: the ratio is the median of its rounds'."""
    judged = []
    for (transport, case, load), pairs in measured.items():
        if load == ALONE:
            floor, ratios = TIMES.get(transport), [figure.p50 / echo.p50 for figure, echo in pairs]
        else:
            floor, ratios = RATES[transport].get(case), [figure.rate / echo.rate for figure, echo in pairs]
        typical = median_of([figure for figure, _ in pairs])
        judged.append(Judged(transport, case, load, typical, statistics.median(ratios), floor))
    return judged


def echoes(measured: dict[Key, list[Pair]]) -> dict[str, Figure]:
    """The echo's median by load."""
    found: dict[str, list[Figure]] = {}
    for (_, _, load), pairs in measured.items():
        found.setdefault(load, []).extend(echo for _, echo in pairs)
    return {load: median_of(figures) for load, figures in found.items()}


def median_of(figures: list[Figure]) -> Figure:
    """The one in the middle, by rate."""
    return sorted(figures, key=lambda figure: figure.rate)[len(figures) // 2]


def table(judged: list[Judged], echo: dict[str, Figure]) -> str:
    """All of it for people: calls a second, the median time, processor time a call, the ratio and its floor."""
    lines = [f"{'':42}{'calls/s':>9}{'p50 ms':>9}{'CPU µs':>9}{'ratio':>8}{'floor':>8}"]
    lines += [_line(f"bare grpc.aio echo, {load}", figure) for load, figure in echo.items()]
    for one in judged:
        floor = "" if one.floor is None else f"{one.floor:8.2f}{'  missed' if one.missed else ''}"
        lines.append(_line(f"{one.transport}, {one.case}, {one.load}", one.figure) + f"{one.ratio:8.2f}{floor}")
    return "\n".join(lines)


def write(judged: list[Judged], echo: dict[str, Figure], path: Path) -> None:
    """The same as JSON."""
    report = {
        "echo": {load: asdict(figure) for load, figure in echo.items()},
        "gateway": [asdict(one) | {"missed": one.missed} for one in judged],
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


def plot(judged: list[Judged], path: Path) -> None:
    """The ratios in a crowd as bars, with a mark where the floor is; an image file."""
    shown = [one for one in judged if one.load == CROWD]
    canvas = Canvas(figsize=(8, 0.3 * len(shown) + 1), layout="constrained")
    axes = canvas.subplots()
    axes.barh([f"{one.transport}, {one.case}" for one in shown], [one.ratio for one in shown])
    for place, one in enumerate(shown):
        if one.floor is not None:
            axes.plot([one.floor] * 2, [place - 0.4, place + 0.4], color="black")
    axes.invert_yaxis()
    axes.set(xlabel="calls a second, as a share of a bare grpc.aio echo's; | is the floor")
    canvas.savefig(path)


def _line(name: str, figure: Figure) -> str:
    return f"{name:42}{figure.rate:9.0f}{figure.p50 * 1e3:9.2f}{figure.cpu * 1e6:9.0f}"
