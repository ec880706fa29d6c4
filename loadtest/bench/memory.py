"""`python -m loadtest.bench.memory`: the gateway's resident memory as it answers call after call, on each transport.

The backend answers zeros in the gateway's own process, so that as many calls as possible go through what is measured.
Memory that is free in the process but not given back counts; what counts as growth is what comes after the first half.
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest.bench.__main__ import NO_OP, Case, all_cases, gateways
from loadtest.bench.load import Load, LoadError, Target, run
from serving.transport.default import installed_transports
from stack.__main__ import ensure_key, ensure_model

NAMES = ("tensor", "PNG", "32 PNGs")
# Rows between two looks.
STEP = 20_000
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Growth:
    """What a gateway's memory did."""

    calls: int
    first: float
    """Resident megabytes before the first call."""
    middle: float
    """The median of the second quarter of the looks."""
    last: float
    """The median of the last quarter."""
    most: float

    @property
    def a_million(self) -> float:
        """Megabytes that a million calls added, once it had all that it needs."""
        return (self.last - self.middle) / (self.calls / 2) * 1e6


def main() -> int:
    """Measures and prints; 1 if a call failed, or with --check if memory is more than it may be or grows."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.memory", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, help="of each kind at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="for each kind at most (default: %(default)s)")
    parser.add_argument(
        "--case", action="append", choices=NAMES, help="the kind of call; may be repeated (default: all)"
    )
    parser.add_argument(
        "--transport", action="append", choices=installed_transports(), help="may be repeated (default: all)"
    )
    parser.add_argument("--limit", type=float, default=200, help="megabytes that --check allows (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="end with status 1 if memory is above the limit, or grows")
    options = parser.parse_args()
    ensure_model()
    key = ensure_key()
    asked = {case.name: case for case in all_cases()}
    found: dict[tuple[str, str], Growth] = {}
    with ExitStack() as children, tempfile.TemporaryDirectory() as scratch:
        for (transport, module), (address, http, gateway) in gateways(children).items():
            if module != NO_OP or transport not in (options.transport or installed_transports()):
                continue
            for name in options.case or NAMES:
                case = asked[name]
                target = Target(address, case.method, case.message, pid=gateway.pid, http=http)
                print(f"{transport}, {name}")
                try:
                    found[transport, name] = _watch(target, case, key, options, Path(scratch))
                except LoadError as error:
                    print(f"memory: {error}", file=sys.stderr)
                    return 1
    print("\n| MB | | calls | at first | half-way | at last | at most | a million calls add |")
    print(f"|{'---|' * 8}")
    for (transport, name), growth in found.items():
        figures = (growth.first, growth.middle, growth.last, growth.most, growth.a_million)
        print(f"| {transport} | {name} | {growth.calls} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")
    return int(options.check and any(not _holds(growth, options.limit) for growth in found.values()))


def _watch(target: Target, case: Case, key: str, options: argparse.Namespace, scratch: Path) -> Growth:
    """Calls until there are enough of them, or the time is over."""
    assert target.pid is not None
    process = psutil.Process(target.pid)
    load = Load(max(STEP // case.rows, 128))
    seen = [process.memory_info().rss / _MEGABYTE]
    calls, end = 0, time.monotonic() + options.seconds
    while calls < options.calls and time.monotonic() < end:
        run(target, key, load, scratch)
        calls += load.calls
        seen.append(process.memory_info().rss / _MEGABYTE)
        print(f"{calls:>10} calls {seen[-1]:8.1f} MB", flush=True)
    quarter = max(len(seen) // 4, 1)
    middle, last = seen[quarter : 2 * quarter] or seen, seen[-quarter:]
    return Growth(calls, seen[0], statistics.median(middle), statistics.median(last), max(seen))


def _holds(growth: Growth, limit: float) -> bool:
    # A hundredth is what looks differ by.
    return growth.most <= limit and growth.last <= 1.01 * growth.middle


if __name__ == "__main__":
    sys.exit(main())
