"""What a server does under load, in turns with the echo, so that a machine that slows down slows both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from loadtest.bench.load import Load, Target, run
from stack.processes import Child

_PROBE, _SECONDS, _MIN, _MAX = 200, 3.0, 300, 8000
_ALONE = 200


@dataclass(frozen=True)
class Result:
    """The medians of all rounds."""

    rate: float
    """Calls a second, 128 at once."""
    p50: float
    """Seconds, 128 at once."""
    alone_p50: float
    """Seconds, one at a time."""
    cpu: float
    """Seconds of CPU time in a call, of all of a server's processes."""
    to_echo: float
    """`rate` by the echo's, of the same round."""


def measure(target: Target, children: Sequence[Child], echo: Target, rounds: int, scratch: Path) -> Result:
    """Calls `target`, which `children` serve, and the echo in turns; LoadError."""
    probe = run(target, "", _load(target, _PROBE), scratch)
    calls = round(min(max(probe.rate * _SECONDS, _MIN), _MAX))
    rates, p50s, alone, cpu, to_echo = [], [], [], [], []
    for _ in range(rounds):
        reference = run(echo, "", _load(echo, _MAX // 2), scratch)
        before = cpu_seconds(children)
        figure = run(target, "", _load(target, calls), scratch)
        cpu.append((cpu_seconds(children) - before) / calls)
        rates.append(figure.rate)
        p50s.append(figure.p50)
        to_echo.append(figure.rate / reference.rate)
        alone.append(run(target, "", Load(_ALONE, connections=1, streams=1), scratch).p50)
    return Result(median(rates), median(p50s), median(alone), median(cpu), median(to_echo))


def _load(target: Target, calls: int) -> Load:
    """128 calls at once: HTTP/1.1 has one at a time on a connection."""
    if target.content_type == "application/grpc":
        return Load(calls, connections=8, streams=16)
    return Load(calls, connections=128, streams=1)


def cpu_seconds(children: Sequence[Child]) -> float:
    """CPU time that servers have used so far, their own processes' included."""
    total = 0.0
    for started in children:
        process = psutil.Process(started.pid)
        for each in (process, *process.children(recursive=True)):
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
    return total
