"""`python -m loadtest.capacity`: the highest rate that holds a promise, and what a given load costs by the month.

Calls arrive at random at a rate that does not depend on the answers (open loop), and a call's time counts from when it
was due. The rate is doubled until the promise breaks, then narrowed down by halving the interval.

    replicas = ceil(load × (1 + headroom) / highest rate of one replica), at least `--min-replicas`
    cost     = fixed + 730 h × replicas × (vCPUs × price of a vCPU hour + GiB × price of a GiB hour)

One replica is a gateway and a model server on as many cores as this machine has.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from pydantic import BaseModel, ConfigDict

from loadtest.__main__ import CANNOT_START, Target, target
from loadtest.locust_process import HERE, Load, LoadFailedError, run
from loadtest.observer import Observer
from loadtest.recording import Recording
from stack.__main__ import StackError
from stack.processes import ProcessError

HOURS = 730  # in a month
USERS = 8  # among whom the arrivals are shared
_FIRST_RATE = 50.0
_PRECISION = 1.1  # ratio of the rates between which the search ends
_WARM_UP = 2  # seconds of each step that do not count
_KEPT_UP = 0.95  # share of the due calls that must have been answered in the measured time


@dataclass(frozen=True)
class Slo:
    """The promise: a quantile of the latency, and a share of errors."""

    share: float
    seconds: float
    errors: float

    def holds(self, measured: Recording, rate: float) -> bool:
        """Whether a run at `rate` calls a second kept it, and kept up."""
        enough = measured.throughput >= _KEPT_UP * rate
        return enough and measured.failures <= self.errors * measured.calls and self._latency(measured) <= self.seconds

    def _latency(self, measured: Recording) -> float:
        return measured.quantile(self.share)


class Platform(BaseModel):
    """What a platform asks for, in US dollars."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    vcpu_hour: float
    gib_hour: float
    fixed_month: float


def parse_slo(text: str, errors: float) -> Slo:
    """The promise in `p99=50ms`; ValueError says what was expected."""
    found = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)=(\d+(?:\.\d+)?)(ms|s)", text)
    if not found:
        raise ValueError(f"{text!r} is no promise; expected a quantile and a time, such as p99=50ms")
    return Slo(float(found[1]) / 100, float(found[2]) / (1e3 if found[3] == "ms" else 1), errors)


def highest(holds: Callable[[float], bool], first: float = _FIRST_RATE) -> float:
    """The highest rate that holds, to a tenth; 0 if `first` already does not and nothing above 1 does."""
    low, high = 0.0, first
    while holds(high):
        low, high = high, 2 * high
    while high > max(1.0, low * _PRECISION):
        middle = math.sqrt(max(low, 1.0) * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def replicas(load: float, capacity: float, headroom: float, least: int) -> int:
    """How many replicas, of `capacity` calls a second each, bear `load` with `headroom` to spare."""
    return max(least, math.ceil(load * (1 + headroom) / capacity))


def monthly(platform: Platform, count: int, vcpus: float, gib: float) -> float:
    """US dollars a month for `count` replicas."""
    return platform.fixed_month + HOURS * count * (vcpus * platform.vcpu_hour + gib * platform.gib_hour)


def prices(path: Path) -> tuple[str, Mapping[str, Platform]]:
    """When the prices in a file were read, and each platform's."""
    content = yaml.safe_load(path.read_text("utf-8"))
    return str(content["date"]), {name: Platform(**each) for name, each in content["platforms"].items()}


def main() -> int:
    """Searches, prints each step and the costs; 0 if any rate holds."""
    options = _options()
    try:
        slo = parse_slo(options.slo, options.errors)
        date, platforms = prices(options.prices)
        with target(options) as found:
            capacity, cpu_per_call, memory = _search(options, found, slo)
    except (LoadFailedError, OSError, ProcessError, StackError, ValueError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return CANNOT_START
    if not capacity:
        print(f"capacity: {options.slo} does not hold at any rate", file=sys.stderr)
        return 1
    cores = psutil.cpu_count() or 1
    print(f"\nOne replica ({cores} cores) holds {options.slo} up to {capacity:.0f} calls/s.")
    if memory:
        print(f"A call costs {cpu_per_call * 1e3:.2f} ms of CPU; the processes have {memory:.2f} GiB resident.")
    count = replicas(options.rate, capacity, options.headroom, options.min_replicas)
    gib = options.gib or max(1.0, math.ceil(2 * memory))
    needed = f"{count} replicas of {cores} vCPU, {gib:g} GiB"
    print(f"{options.rate:g} calls/s and {options.headroom:.0%} to spare need {needed}:")
    for name, platform in platforms.items():
        print(f"  {name:10} {monthly(platform, count, cores, gib):10,.0f} $/month (list prices of {date})")
    return 0


def _search(options: argparse.Namespace, found: Target, slo: Slo) -> tuple[float, float, float]:
    """The highest rate, CPU seconds of a call at it, and resident GiB of all processes."""
    out = Path("var/loadtest/capacity")
    out.mkdir(parents=True, exist_ok=True)
    costs: dict[float, tuple[float, float]] = {}

    def holds(rate: float) -> bool:
        each = ["--rate-per-user", f"{rate / USERS:g}", "--tags", *options.tags]
        load = Load("GatewayUser", found.address, users=USERS, seconds=options.seconds + _WARM_UP, options=each)
        with Observer(dict(found.processes), found.http) as observer:
            measured = run(load, out / "run.json", key=found.key).after(_WARM_UP)
            used = observer.cpu_seconds() / (options.seconds + _WARM_UP)
        kept = slo.holds(measured, rate)
        quantile = measured.quantile(slo.share) * 1e3
        print(
            f"{rate:8.0f} calls/s: {measured.throughput:.0f} answered, p{slo.share * 100:g} {quantile:.1f} ms, "
            f"{measured.failures} failed: {'holds' if kept else 'does not hold'}",
            flush=True,
        )
        memory = sum(max(each, default=0.0) for each in observer.memory.values()) / (1 << 30)
        costs[rate] = used / measured.throughput if measured.throughput else 0.0, memory
        return kept

    capacity = highest(holds)
    return capacity, *costs.get(capacity, (0.0, 0.0))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--slo", default="p99=50ms", help="the promise (default: %(default)s)")
    add("--errors", type=float, default=0.0, help="share of calls that may fail (default: %(default)s)")
    add("--rate", type=float, default=1000.0, help="calls a second to plan for (default: %(default)s)")
    add("--headroom", type=float, default=0.3, help="share above that (default: %(default)s)")
    add("--min-replicas", type=int, default=2, help="(default: %(default)s)")
    add("--gib", type=float, help="memory of a replica (default: twice what was measured)")
    add("--seconds", type=float, default=10.0, help="of each step (default: %(default)s)")
    add("--tags", nargs="+", default=["png"], help="what is called (default: png)")
    add("--prices", type=Path, default=HERE / "prices.yaml", help="(default: %(default)s)")
    add("--address", help="host:port of a gateway that runs (default: start the stack)")
    add("--http", default="", help="its HTTP port")
    add("--key", default="", help="API key")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
