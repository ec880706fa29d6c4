"""`python -m loadtest.bench.embedded`: the embedded server on the digits model against a bare grpc.aio echo.

The echo answers with messages of the same size; the model is called in a process of its own, too. All in one run, round
after round. A ratio is that of one round, and the middle one counts: virtual machines change their speed by half from
one minute to the next, so that the best of each, from different rounds, would compare one speed with another.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

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


CASES = (
    Case(1, Load(1000, connections=1, streams=1)),
    Case(1, Load(6000, connections=8, streams=16)),
    Case(32, Load(1500, connections=8, streams=4)),
    Case(MANY, Load(500, connections=8, streams=2)),
)
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
    each = [_ratios(*measured) for measured in rounds]
    ratios = {name: statistics.median(of[name] for of in each) for name in FLOORS}
    figures = {
        key: sorted((measured[0][key] for measured in rounds), key=lambda figure: figure.rate)[len(rounds) // 2]
        for key in rounds[0][0]
    }
    in_process = {rows: statistics.median(measured[1][rows] for measured in rounds) for rows in rounds[0][1]}
    _print(figures, in_process, ratios)
    if options.json:
        report = {
            "cases": [
                {"server": name, "rows": case.rows, "concurrency": case.concurrency, **asdict(figure)}
                for (name, case), figure in figures.items()
            ],
            "in_process_rows_per_second": in_process,
            "ratios": ratios,
            "ratios_by_round": each,
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


def _measure(
    addresses: dict[str, str], directory: Path, scratch: Path
) -> tuple[dict[tuple[str, Case], Figure], dict[int, float]]:
    """One round: calls by server and case, and the rows a second of the model by rows in a call."""
    messages = {case.rows: request_of(addresses[UNBATCHED], MODEL, case.rows).SerializeToString() for case in CASES}
    figures: dict[tuple[str, Case], Figure] = {}
    for case in CASES:
        for name, address in addresses.items():
            target = Target(address, "/bench.Echo/Echo" if name == ECHO else PREDICT, messages[case.rows])
            load = case.load
            run(target, "", Load(round(load.calls * WARM_UP), load.connections, load.streams), scratch)
            figures[name, case] = run(target, "", load, scratch)
    command = [sys.executable, "-m", "loadtest.bench.in_process", str(directory), *map(str, messages)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    return figures, {int(rows): rate for rows, rate in json.loads(printed.splitlines()[-1]).items()}


def _ratios(figures: dict[tuple[str, Case], Figure], in_process: dict[int, float]) -> dict[str, float]:
    (crowd,) = (case for case in CASES if case.rows == 1 and case.concurrency == MANY)
    (many,) = (case for case in CASES if case.rows == MANY)
    echo = figures[ECHO, crowd].rate
    ratios = {
        "unbatched / echo": figures[UNBATCHED, crowd].rate / echo,
        "batched / echo": figures[BATCHED, crowd].rate / echo,
        "rows/s / in-process": figures[UNBATCHED, many].rate * MANY / in_process[MANY],
    }
    if (ENVOY, crowd) in figures:
        ratios["inside Envoy / echo"] = figures[ENVOY, crowd].rate / echo
    return ratios


def _print(figures: dict[tuple[str, Case], Figure], in_process: dict[int, float], ratios: dict[str, float]) -> None:
    print(f"\n{'':22}{'rows':>6}{'at once':>9}{'calls/s':>9}{'rows/s':>9}{'p50 ms':>9}{'to echo':>9}{'to model':>10}")
    for (name, case), figure in sorted(figures.items(), key=lambda item: CASES.index(item[0][1])):
        echo = figures[ECHO, case].rate
        to_model = "" if name == ECHO else f"{figure.rate * case.rows / in_process[case.rows]:10.2f}"
        print(
            f"{name:22}{case.rows:6}{case.concurrency:9}{figure.rate:9.0f}{figure.rate * case.rows:9.0f}"
            f"{figure.p50 * 1e3:9.1f}{figure.rate / echo:9.2f}{to_model}"
        )
    for rows, rate in in_process.items():
        print(f"{'in-process':22}{rows:6}{1:9}{rate / rows:9.0f}{rate:9.0f}")
    print()
    for name, ratio in ratios.items():
        print(f"{name:22}{ratio:6.2f}   floor {FLOORS[name]:.2f}{'' if ratio >= FLOORS[name] else '   missed'}")


if __name__ == "__main__":
    sys.exit(main())
