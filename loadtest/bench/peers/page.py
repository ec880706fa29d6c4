"""The table and the plot of a comparison, for people and for machines."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Self

from matplotlib.figure import Figure

from loadtest.bench.peers.measure import Result

_HEAD = """# Benchmarks

Ours and what a user would pick instead, on the same model (digits, 28×28 float32) and the same image, one row in a
call. `make bench-peers` makes this page: h2load calls each server, 128 calls at once and then one at a time, in turns
with a bare grpc.aio echo; answers are checked first. Read the ratio to the echo and the CPU time, since absolute
figures are one machine's on one day. Each peer runs the model as its documentation shows, in one process, with its
own batching where it has any; all have TensorFlow {tensorflow}.
"""


@dataclass(frozen=True)
class Row:
    """A server, and what it did or why it did not."""

    name: str
    version: str
    protocol: str
    ours: bool
    outcome: Result | str


def _machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [entry.partition(":")[2].strip() for entry in info.read_text().splitlines() if "model name" in entry]
        model = names[0] if names else model
    return f"{os.cpu_count()} × {model}, {platform.system()}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Run:
    """A comparison: its rows, and what has to be known to read them."""

    rounds: int
    busy: float
    """The load average when it began."""
    rows: list[Row] = field(default_factory=list)
    machine: str = field(default_factory=_machine)
    date: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")
    tensorflow: str = field(default_factory=lambda: metadata.version("tensorflow"))

    def save(self, file: Path) -> None:
        """Writes it as JSON."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `save` wrote; ValueError, TypeError or KeyError if the file is none of those."""
        whole = json.loads(file.read_text())
        rows = [
            Row(**row | {"outcome": outcome if isinstance(outcome := row["outcome"], str) else Result(**outcome)})
            for row in whole["rows"]
        ]
        return cls(**whole | {"rows": rows})


def line(row: Row) -> str:
    """A row in a terminal."""
    label = f"{row.name} {row.version}".strip()
    if isinstance(row.outcome, str):
        return f"{label:40}{row.protocol:32} not measured: {row.outcome}"
    it = row.outcome
    return (
        f"{label:40}{row.protocol:32}{it.to_echo:6.2f} of the echo{it.rate:8.0f} calls/s{it.p50 * 1e3:8.1f} ms"
        f"{it.alone_p50 * 1e3:8.2f} ms alone{it.cpu * 1e6:8.0f} µs CPU"
    )


def write(file: Path, run: Run) -> None:
    """Writes the page, and a plot of the ratios beside it."""
    measured = [(row, row.outcome) for row in run.rows if not isinstance(row.outcome, str)]
    measured.sort(key=lambda pair: -pair[1].to_echo)
    plot = file.with_suffix(".png")
    _plot(plot, measured)
    lines = [
        _HEAD.format(tensorflow=run.tensorflow),
        f"{run.date}, {run.machine}, medians of {run.rounds} rounds.",
        f"The load average was {run.busy:.1f} when it began: what is not near 0 distorts all figures.\n",
        "| server | protocol | to the echo | calls/s | p50, 128 at once | p50, alone | CPU a call |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, it in measured:
        name = f"**{row.name}**" if row.ours else f"{row.name} {row.version}"
        lines.append(
            f"| {name} | {row.protocol} | {it.to_echo:.2f} | {it.rate:.0f} | {it.p50 * 1e3:.1f} ms "
            f"| {it.alone_p50 * 1e3:.2f} ms | {it.cpu * 1e6:.0f} µs |"
        )
    lines += ["", f"![Calls a second, as a share of the echo's]({plot.name})", "", *_losses(measured)]
    failed = [f"- {row.name} {row.version}: {row.outcome}" for row in run.rows if isinstance(row.outcome, str)]
    if failed:
        lines += ["", "Not measured:", "", *failed]
    file.write_text("\n".join(lines) + "\n")


def _losses(measured: Sequence[tuple[Row, Result]]) -> list[str]:
    """Where a peer is ahead of the best of ours."""
    found = []
    costs: dict[str, Callable[[Result], float]] = {
        "throughput": lambda it: -it.to_echo,
        "latency, one call at a time": lambda it: it.alone_p50,
        "CPU time a call": lambda it: it.cpu,
    }
    for what, value in costs.items():
        ours = min((value(it) for row, it in measured if row.ours), default=None)
        ahead = [row.name for row, it in measured if not row.ours and ours is not None and value(it) < ours]
        if ahead:
            found.append(f"- {what}: {', '.join(ahead)}")
    return ["Peers ahead of the best of ours:", "", *found] if found else ["No peer is ahead of the best of ours."]


def _plot(file: Path, measured: Sequence[tuple[Row, Result]]) -> None:
    figure = Figure(figsize=(9, 0.4 * len(measured) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = [f"{row.name}, {row.protocol}" for row, _ in measured][::-1]
    colours = ["tab:blue" if row.ours else "tab:grey" for row, _ in measured][::-1]
    axes.barh(names, [it.to_echo for _, it in measured][::-1], color=colours)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xlabel="calls a second, as a share of a bare grpc.aio echo's")
    figure.savefig(file, dpi=110)
