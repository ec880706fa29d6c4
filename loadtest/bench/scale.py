"""`python -m loadtest.bench.scale`: what a call costs as clients, rows, models and images grow in number or size.

The gateway in front of the embedded server. For each axis the CPU time of a call, of both processes, is fitted by a
power: an exponent near 0 is a cost that does not grow, one near 1 a cost that grows in proportion.
"""

import argparse
import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from matplotlib.figure import Figure
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.load import Load, LoadError, Target, run
from loadtest.bench.peers.measure import cpu_seconds
from loadtest.bench.peers.protocols import PNG, TFS
from loadtest.model import newest, request_of
from serving.wire.codec import Array
from stack.__main__ import MODEL, free_port
from stack.processes import Child, ProcessError, child

_START_TIMEOUT = 300.0
_PROBE, _SECONDS, _MIN_CALLS, _MAX_CALLS = 50, 2.0, 50, 5000
_ROUNDS = 3
_MEBIBYTE = 1 << 20
CLIENTS = (1, 4, 16, 64, 256, 1000)
ROWS = (1, 8, 32, 128, 512)
MODELS = (1, 2, 5, 10)
SIDES = (28, 128, 512, 1024, 2048)


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


@dataclass(frozen=True)
class Stack:
    """A running gateway with its server."""

    address: str
    http: str
    children: tuple[Child, ...]

    def answered(self) -> float:
        """Calls that ended well, so far."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as page:  # our own
            families = text_string_to_metric_families(page.read().decode())
        samples = [
            sample for family in families for sample in family.samples if sample.name == "tensorgate_calls_total"
        ]
        return sum(sample.value for sample in samples if sample.labels["code"] == "OK")

    def measure(self, x: int, target: Target, clients: int, scratch: Path) -> Point:
        """The median of some rounds of calls by so many clients, one at a time each; LoadError if one is refused."""

        def load(calls: float) -> Load:
            return Load(max(round(calls), clients), connections=clients, streams=1)

        probe = run(target, "", load(_PROBE), scratch)
        calls = load(min(max(probe.rate * _SECONDS, _MIN_CALLS), _MAX_CALLS))
        found = []
        for _ in range(_ROUNDS):
            before, cpu = self.answered(), cpu_seconds(self.children)
            figure = run(target, "", calls, scratch)
            cpu = (cpu_seconds(self.children) - cpu) / calls.calls
            # h2load does not see the status of a call.
            if (answered := self.answered() - before) < calls.calls:
                raise LoadError(f"{answered:.0f} of {calls.calls} calls were answered")
            memory = sum(psutil.Process(each.pid).memory_info().rss for each in self.children)
            found.append(Point(x, figure.rate, cpu, memory))
        return sorted(found, key=lambda point: point.cpu)[len(found) // 2]


@contextmanager
def stack(directory: Path, scratch: Path, models: int = 1) -> Iterator[Stack]:
    """A gateway and a server of the model in `directory`, under so many names; ProcessError."""
    names = [MODEL, *(f"{MODEL}{number}" for number in range(2, models + 1))]
    config = scratch / "models.config"
    entries = "\n".join(
        f'config {{ name: "{name}" base_path: "{directory.parent}" model_platform: "tensorflow" }}' for name in names
    )
    config.write_text(f"model_config_list {{ {entries} }}\n")
    python = [sys.executable, "-m"]
    with ExitStack() as parts:
        command = [*python, "serving.embedded", "--port=0", f"--model_config_file={config}", "--enable_batching"]
        server = parts.enter_context(child("the server", command, scratch / "server.log"))
        backend = server.wait_for("serving gRPC on ", _START_TIMEOUT).split()[-1]
        address, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
        command = [*python, "gateway", f"--models={','.join(names)}", f"--listen={address}", f"--http={http}"]
        command += [f"--backend.address={backend}", "--no-auth.enabled", "--drain.delay=0"]
        # What is refused costs little.
        command += ["--limits.max-instances=1024", "--limits.max-waiting-calls=4096"]
        gateway = parts.enter_context(child("the gateway", command, scratch / "gateway.log"))
        gateway.wait_for('"event": "serving"', _START_TIMEOUT)
        yield Stack(address, http, (server, gateway))


def exponent(points: Sequence[Point]) -> float:
    """The power of x that the cost of a call grows by, by least squares."""
    slope, _ = np.polyfit(np.log([point.x for point in points]), np.log([point.cpu for point in points]), 1)
    return float(slope)


def main() -> int:
    """Measures, prints, and writes; 1 if a call was refused or a server did not start."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.scale", description=__doc__)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--plot", type=Path, help="draw the curves into this PNG file")
    options = parser.parse_args()
    axes: dict[str, list[Point]] = {}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for name, point in _points(newest(), Path(scratch)):
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


def _points(directory: Path, scratch: Path) -> Iterator[tuple[str, Point]]:
    image = _digit(directory)
    with stack(directory, scratch) as running:
        for clients in CLIENTS:
            yield "clients", running.measure(clients, TFS.target(running.address, image), clients, scratch)
        for rows in ROWS:
            message = request_of(running.address, MODEL, rows).SerializeToString()
            yield "rows", running.measure(rows, Target(running.address, TFS.path, message), 8, scratch)
        for side in SIDES:
            enlarged = (
                np.asarray(Image.fromarray((image * 255).astype(np.uint8)).resize((side, side)), np.float32) / 255
            )
            yield "pixels of a side", running.measure(side, PNG.target(running.address, enlarged), 8, scratch)
    for models in MODELS:
        with stack(directory, scratch, models) as running:
            name = MODEL if models == 1 else f"{MODEL}{models}"
            message = request_of(running.address, name, 1).SerializeToString()
            yield "models", running.measure(models, Target(running.address, TFS.path, message), 64, scratch)


def _digit(directory: Path) -> Array:
    sample = min((directory / "assets.extra/samples").glob("7-*.png"))
    return np.asarray(Image.open(sample).convert("L"), np.float32) / 255


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
