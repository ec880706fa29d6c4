"""`python -m loadtest.bench.soak`: an even load for long, below what the gateway bears: no call fails, no memory stays.

The gateway in front of the embedded server, on each transport in turn: first as many calls as it answers, then a share
of that rate. Memory is flat if neither process takes more in the last quarter of the time than in the second, but for a
twentieth and 4 MiB; the first quarter is for caches to fill.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from loadtest.bench.gateway_stack import stack
from loadtest.bench.load import Figure, Load, LoadError, Target, run
from loadtest.bench.peers.protocols import PNG
from loadtest.model import digit, newest
from serving.transport.default import installed_transports
from stack.processes import ProcessError

_PROBE, _PROBES = 3000, 3
# Long enough for a quantile, short enough for twelve of them.
_SLICE, _LEAST_SLICES = 15.0, 12
_GROWTH, _SLACK = 1.05, 4 << 20
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What some seconds of load came to."""

    figure: Figure
    memory: Mapping[str, int]
    """Resident bytes by process."""


def growths(samples: Sequence[Sample]) -> list[str]:
    """Whose memory was not flat, for people: the median of the last quarter against that of the second."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    found = []
    for name in samples[0].memory:
        before, after = (median(sample.memory[name] for sample in some) for some in (early, late))
        if after > before * _GROWTH + _SLACK:
            found.append(
                f"the memory of the {name} grew from {before / _MEBIBYTE:.0f} to {after / _MEBIBYTE:.0f} MiB; "
                f"expected {(before * _GROWTH + _SLACK) / _MEBIBYTE:.0f} at most"
            )
    return found


def main() -> int:
    """Loads, prints, and writes; 1 if a call failed, memory grew, or a server did not start."""
    transports = installed_transports()
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of load on each transport (default: %(default)g)")
    parser.add_argument("--share", type=float, default=0.7, help="of the highest rate (default: %(default)g)")
    parser.add_argument("--transport", choices=transports, nargs="+", default=transports, help="(default: all)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    if not 0 < options.share <= 1 or options.minutes <= 0:
        parser.error("--share has to be above 0 and at most 1, --minutes above 0")
    found: dict[str, list[Sample]] = {}
    problems: list[str] = []
    for transport in options.transport:
        found[transport] = []
        try:
            with tempfile.TemporaryDirectory() as scratch:
                for sample in _samples(transport, options.minutes * 60, options.share, Path(scratch)):
                    found[transport].append(sample)
                    print(_line(transport, sample), flush=True)
            problems += [f"{transport}: {problem}" for problem in growths(found[transport])]
        except (LoadError, ProcessError) as error:
            problems.append(f"{transport}: {error}")
        if options.json:
            shown = {name: [*map(asdict, samples)] for name, samples in found.items()}
            options.json.write_text(json.dumps({"samples": shown, "problems": problems}, indent=2) + "\n")
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr)
    return int(bool(problems))


def _samples(transport: str, seconds: float, share: float, scratch: Path) -> Iterator[Sample]:
    directory = newest()
    with stack(directory, scratch, transport=transport) as running:
        image = PNG.target(running.address, digit(directory))
        target = Target(image.address, image.method, image.message, pid=running.gateway.pid, http=running.http)
        # The first finds cold processes.
        highest = max(run(target, "", Load(_PROBE), scratch).rate for _ in range(_PROBES))
        count = max(round(seconds / _SLICE), _LEAST_SLICES)
        load = Load(max(round(share * highest * seconds / count), 128), rate=share * highest)
        print(f"{transport}: {load.rate:.0f} of {highest:.0f} calls/s, for {seconds / 60:g} minutes", flush=True)
        for _ in range(count):
            yield Sample(run(target, "", load, scratch), running.memory())


def _line(transport: str, sample: Sample) -> str:
    figure = sample.figure
    memory = "".join(f"{name:>10}{size / _MEBIBYTE:5.0f} MiB" for name, size in sample.memory.items())
    times = f"{figure.p50 * 1e3:8.2f} ms p50{figure.p99 * 1e3:8.2f} ms p99{figure.cpu * 1e6:7.0f} µs CPU a call"
    return f"{transport:10}{figure.rate:8.0f} calls/s{times}{memory}"


if __name__ == "__main__":
    sys.exit(main())
