"""`python -m loadtest.bench.embedded`: the embedded server on the digits model against a bare grpc.aio echo.

The echo answers with messages of the same size; the model is called in a process of its own, too. All in one run, round
after round, each server right after the echo, as virtual machines change their speed by half from one minute to the
next; the middle one of the rounds' ratios counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from loadtest.bench.load import Figure, Load, LoadError, Target, run
from loadtest.model import newest, request_of
from serving.transport.default import installed_transports
from stack.__main__ import MODEL, MODELS
from stack.processes import child

PREDICT = "/tensorflow.serving.PredictionService/Predict"
ECHO, UNBATCHED, BATCHED, ENVOY = "bare grpc.aio echo", "embedded", "embedded, batching", "the same inside Envoy"
SERVERS = {UNBATCHED: ["--transport=grpc.aio"], BATCHED: ["--transport=grpc.aio", "--enable_batching"]}
if "envoy" in installed_transports():
    SERVERS[ENVOY] = ["--transport=envoy", "--enable_batching"]
START_TIMEOUT = 120
WARM_UP = 0.1
MANY = 128


@dataclass(frozen=True)
class Case:
    """So many rows in a call, and so many calls at once."""

    rows: int
    load: Load

    @property
    def concurrency(self) -> int:
        """Calls at once."""
        return self.load.connections * self.load.streams


CROWD = Case(1, Load(10_000, connections=8, streams=16))
LARGE = Case(MANY, Load(2000, connections=8, streams=2))
CASES = (Case(1, Load(2000, connections=1, streams=1)), CROWD, Case(32, Load(3000, connections=8, streams=4)), LARGE)


class Round(NamedTuple):
    """What one round came to."""

    figures: dict[tuple[str, Case], Figure]
    to_echo: dict[tuple[str, Case], float]
    """Each server's calls a second, as a share of the echo's right before."""
    in_process: dict[int, float]
    """Rows a second of the model by rows in a call."""
    ratios: dict[str, float]


# What must hold: ratios to the echo of single rows, 128 at once, and to the in-process rows a second of 128-row calls.
FLOORS = {"unbatched / echo": 0.22, "batched / echo": 0.65, "rows/s / in-process": 0.5}
if ENVOY in SERVERS:
    FLOORS["inside Envoy / echo"] = 2.0


def main() -> int:
    """Measures, prints tables, and writes JSON; 1 if a call failed, or with --check if a floor was missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.embedded", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="the middle one counts (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--check", action="store_true", help="end with status 1 if a floor is missed")
    options = parser.parse_args()
    directory = newest()
    with ExitStack() as children, tempfile.TemporaryDirectory() as scratch:
        addresses = _start(children, Path(scratch))
        try:
            rounds = [_measure(addresses, directory, Path(scratch)) for _ in range(options.rounds)]
        except LoadError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    ratios = {name: statistics.median(of.ratios[name] for of in rounds) for name in FLOORS}
    figures = {
        key: sorted((of.figures[key] for of in rounds), key=lambda figure: figure.rate)[len(rounds) // 2]
        for key in rounds[0].figures
    }
    in_process = {rows: statistics.median(of.in_process[rows] for of in rounds) for rows in rounds[0].in_process}
    to_echo = {key: statistics.median(of.to_echo[key] for of in rounds) for key in rounds[0].to_echo}
    _print(figures, to_echo, in_process, ratios)
    if options.json:
        report = {
            "cases": [
                {"server": name, "rows": case.rows, "concurrency": case.concurrency, **asdict(figure)}
                for (name, case), figure in figures.items()
            ],
            "in_process_rows_per_second": in_process,
            "ratios": ratios,
            "ratios_by_round": [of.ratios for of in rounds],
            "floors": FLOORS,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(options.check and any(ratios[name] < floor for name, floor in FLOORS.items()))


def _start(children: ExitStack, scratch: Path) -> dict[str, str]:
    """The addresses of the echo and the servers."""
    python = [sys.executable, "-m"]
    echo = children.enter_context(child("the echo", [*python, "loadtest.bench.echo"], scratch / "echo.log"))
    model = [f"--model_name={MODEL}", f"--model_base_path={(MODELS / MODEL).resolve()}"]
    servers = {
        name: children.enter_context(
            child(name, [*python, "serving.embedded", "--port=0", *model, *flags], scratch / f"{name}.log")
        )
        for name, flags in SERVERS.items()
    }
    addresses = {ECHO: echo.wait_for("serving on ", START_TIMEOUT).split()[-1]}
    for name, server in servers.items():
        addresses[name] = server.wait_for("serving gRPC on ", START_TIMEOUT).split()[-1]
    return addresses


def _measure(addresses: dict[str, str], directory: Path, scratch: Path) -> Round:
    messages = {case.rows: request_of(addresses[UNBATCHED], MODEL, case.rows).SerializeToString() for case in CASES}
    figures: dict[tuple[str, Case], Figure] = {}
    to_echo: dict[tuple[str, Case], float] = {}
    in_process = _in_process(directory, messages)

    def measured(name: str, case: Case) -> Figure:
        method = "/bench.Echo/Echo" if name == ECHO else PREDICT
        target = Target(addresses[name], method, messages[case.rows])
        load = case.load
        run(target, "", Load(round(load.calls * WARM_UP), load.connections, load.streams), scratch)
        return run(target, "", load, scratch)

    # What is compared with the model alone first.
    for case in reversed(CASES):
        for name in SERVERS:
            figures[ECHO, case] = measured(ECHO, case)
            figures[name, case] = measured(name, case)
            to_echo[name, case] = figures[name, case].rate / figures[ECHO, case].rate
    ratios = {
        "unbatched / echo": to_echo[UNBATCHED, CROWD],
        "batched / echo": to_echo[BATCHED, CROWD],
        "rows/s / in-process": figures[UNBATCHED, LARGE].rate * MANY / in_process[MANY],
    }
    if ENVOY in SERVERS:
        ratios["inside Envoy / echo"] = to_echo[ENVOY, CROWD]
    return Round(figures, to_echo, in_process, ratios)


def _in_process(directory: Path, sizes: Iterable[int]) -> dict[int, float]:
    """Rows a second of the model by rows in a call."""
    command = [sys.executable, "-m", "loadtest.bench.in_process", str(directory), *map(str, sizes)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    return {int(rows): rate for rows, rate in json.loads(printed.splitlines()[-1]).items()}


def _print(
    figures: dict[tuple[str, Case], Figure],
    to_echo: dict[tuple[str, Case], float],
    in_process: dict[int, float],
    ratios: dict[str, float],
) -> None:
    print(f"\n{'':22}{'rows':>6}{'at once':>9}{'calls/s':>9}{'rows/s':>9}{'p50 ms':>9}{'to echo':>9}{'to model':>10}")
    for (name, case), figure in sorted(figures.items(), key=lambda item: CASES.index(item[0][1])):
        to_model = "" if name == ECHO else f"{figure.rate * case.rows / in_process[case.rows]:10.2f}"
        print(
            f"{name:22}{case.rows:6}{case.concurrency:9}{figure.rate:9.0f}{figure.rate * case.rows:9.0f}"
            f"{figure.p50 * 1e3:9.1f}{to_echo.get((name, case), 1.0):9.2f}{to_model}"
        )
    for rows, rate in in_process.items():
        print(f"{'in-process':22}{rows:6}{1:9}{rate / rows:9.0f}{rate:9.0f}")
    print()
    for name, ratio in ratios.items():
        print(f"{name:22}{ratio:6.2f}   floor {FLOORS[name]:.2f}{'' if ratio >= FLOORS[name] else '   missed'}")


if __name__ == "__main__":
    sys.exit(main())
