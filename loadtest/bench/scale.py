"""`python -m loadtest.bench.scale`: what a call costs as clients, rows, images, models and workers grow.

The gateway in front of the embedded server. For each axis the CPU time of a call, of both processes, is fitted by a
power: an exponent near 0 is a cost that does not grow, one near 1 a cost that grows in proportion.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from loadtest.bench.gateway_stack import Stack, stack
from loadtest.bench.load import Load, LoadError, Target, run
from loadtest.bench.peers.measure import cpu_seconds
from loadtest.bench.peers.protocols import PNG, TFS
from loadtest.model import digit, newest, request_of
from serving.wire.codec import Array
from stack.__main__ import MODEL
from stack.processes import ProcessError

_PROBE, _SECONDS, _MIN_CALLS, _MAX_CALLS = 50, 2.0, 50, 5000
_ROUNDS = 3
_MEBIBYTE = 1 << 20
CLIENTS = (1, 4, 16, 64, 256, 1000)
ROWS = (1, 8, 32, 128, 512)
MODELS = (1, 2, 5, 10)
SIDES = (28, 128, 512, 1024, 2048)
# Beyond the number of cores there is nothing to gain.
WORKERS = tuple(count for count in (1, 2, 4, 8, 16, 32, 64) if count <= max(os.cpu_count() or 1, 2))
AXES = ("clients", "rows", "pixels of a side", "models", "workers")


@dataclass(frozen=True)
class Point:
    """One measurement."""

    x: int
    rate: float
    """Calls a second."""
    cpu: float
    """Seconds of CPU time in a call."""
    memory: int
    """Resident bytes of both processes."""


def measure(running: Stack, x: int, target: Target, clients: int, scratch: Path) -> Point:
    """The median of some rounds of calls by so many clients, one at a time each; LoadError if one is refused."""

    def load(calls: float) -> Load:
        return Load(max(round(calls), clients), connections=clients, streams=1)

    probe = run(target, "", load(_PROBE), scratch)
    calls = load(min(max(probe.rate * _SECONDS, _MIN_CALLS), _MAX_CALLS))
    found = []
    for _ in range(_ROUNDS):
        before, cpu = running.answered(), cpu_seconds(running.children)
        figure = run(target, "", calls, scratch)
        cpu = (cpu_seconds(running.children) - cpu) / calls.calls
        # h2load does not see the status of a call.
        if (answered := running.answered() - before) < calls.calls:
            raise LoadError(f"{answered:.0f} of {calls.calls} calls were answered")
        found.append(Point(x, figure.rate, cpu, sum(running.memory().values())))
    return sorted(found, key=lambda point: point.cpu)[len(found) // 2]


def exponent(points: Sequence[Point]) -> float:
    """The power of x that the cost of a call grows by, by least squares."""
    slope, _ = np.polyfit(np.log([point.x for point in points]), np.log([point.cpu for point in points]), 1)
    return float(slope)


def main() -> int:
    """Measures, prints, and writes; 1 if a call was refused or a server did not start."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.scale", description=__doc__)
    parser.add_argument("--only", choices=AXES, nargs="+", default=AXES, help="these alone (default: all)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--plot", type=Path, help="draw the curves into this PNG file")
    options = parser.parse_args()
    axes: dict[str, list[Point]] = {}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for name, point in _points(newest(), Path(scratch), options.only):
                axes.setdefault(name, []).append(point)
                print(
                    f"{name:16}{point.x:6}{point.rate:9.0f} calls/s{point.cpu * 1e6:10.0f} µs CPU a call"
                    f"{point.memory / _MEBIBYTE:7.0f} MiB",
                    flush=True,
                )
    except (LoadError, ProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for name, points in axes.items():
        print(f"cost of a call ~ {name} ^ {exponent(points):.2f}")
    if options.json:
        found = {
            name: {"exponent": exponent(points), "points": [*map(asdict, points)]} for name, points in axes.items()
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.plot:
        _plot(options.plot, axes)
    return 0


def _points(directory: Path, scratch: Path, only: Collection[str]) -> Iterator[tuple[str, Point]]:
    image = digit(directory)
    if not {"clients", "rows", "pixels of a side"}.isdisjoint(only):
        with stack(directory, scratch) as running:
            for name, x, target, clients in _calls(running.address, image):
                if name in only:
                    yield name, measure(running, x, target, clients, scratch)
    for models in MODELS if "models" in only else ():
        with stack(directory, scratch, models=models) as running:
            name = MODEL if models == 1 else f"{MODEL}{models}"
            message = request_of(running.address, name, 1).SerializeToString()
            yield "models", measure(running, models, Target(running.address, TFS.path, message), 64, scratch)
    for workers in WORKERS if "workers" in only else ():
        with stack(directory, scratch, workers=workers) as running:
            yield "workers", measure(running, workers, TFS.target(running.address, image), 64, scratch)


def _calls(address: str, image: Array) -> Iterator[tuple[str, int, Target, int]]:
    """What one stack is asked: by axis and place on it, the call and how many clients make it at once."""
    for clients in CLIENTS:
        yield "clients", clients, TFS.target(address, image), clients
    for rows in ROWS:
        message = request_of(address, MODEL, rows).SerializeToString()
        yield "rows", rows, Target(address, TFS.path, message), 8
    for side in SIDES:
        enlarged = np.asarray(Image.fromarray((image * 255).astype(np.uint8)).resize((side, side)), np.float32) / 255
        yield "pixels of a side", side, PNG.target(address, enlarged), 8


def _plot(file: Path, axes: Mapping[str, Sequence[Point]]) -> None:
    figure = Figure(figsize=(4 * len(axes), 6), layout="constrained")
    for column, (name, points) in enumerate(axes.items()):
        x = [point.x for point in points]
        for row, (what, values) in enumerate(
            {
                "µs CPU a call": [point.cpu * 1e6 for point in points],
                "calls/s": [point.rate for point in points],
                "MiB resident": [point.memory / _MEBIBYTE for point in points],
            }.items()
        ):
            panel = figure.add_subplot(3, len(axes), row * len(axes) + column + 1)
            panel.plot(x, values, marker="o")
            panel.set(xscale="log", xlabel=name, ylabel=what)
            if row:
                panel.set_ylim(0, None)
            else:
                panel.set(yscale="log", title=f"cost ~ {name} ^ {exponent(points):.2f}")
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
