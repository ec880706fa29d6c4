"""Plots of a run, as PNG files."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loadtest.observer import Observer
from loadtest.recording import Recording

_SHARES = (0.5, 0.95, 0.99)
_MIB = 1 << 20
_STEPS = 3  # user counts from which on there is a curve to find a knee in
mpl.use("Agg")


@dataclass(frozen=True)
class Plot:
    """A PNG file, and what to say of it."""

    name: str
    """Of the file, without a suffix."""
    caption: str
    png: bytes


def draw(run: Recording, observer: Observer, baseline: Recording | None) -> list[Plot]:
    """Every plot that there is data for."""
    made = [latency_over_time(run), latency_distribution(run, baseline)]
    steps = by_users(run)
    if len(steps) >= _STEPS:
        made.append(throughput_against_latency(steps))
    if run.failures:
        made.append(errors(run))
    if observer.stages:
        made.append(stages(observer))
    if any(observer.cpu.values()):
        made.append(resources(observer))
    return made


def latency_over_time(run: Recording) -> Plot:
    """Quantiles and the number of calls, second by second."""
    seconds = sorted(set(run.second.tolist()))
    parts = [run.of(run.second == second) for second in seconds]
    with _canvas(9, 5) as (figure, png):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        for share in _SHARES:
            upper.plot(seconds, [part.quantile(share) * 1e3 for part in parts], label=f"p{share * 100:g}")
        upper.set(ylabel="ms", yscale="log")
        upper.legend()
        lower.plot(seconds, [part.calls for part in parts], label="calls/s")
        lower.plot(seconds, [run.users.get(second, np.nan) for second in seconds], label="users")
        lower.set(xlabel="second", ylim=(0, None))
        lower.legend()
    return Plot("latency_over_time", "Latency by the second in which a call ended; below, how many there were.", *png)


def latency_distribution(run: Recording, baseline: Recording | None) -> Plot:
    """The share of calls that took longer, by latency."""
    with _canvas(9, 4) as (figure, png):
        axes = figure.subplots()
        recordings = {name: run.called(name) for name in run.names()}
        if baseline:
            recordings["baseline, all"] = baseline
        for name, part in recordings.items():
            order = np.argsort(part.latency)
            above = 1 - part.count[order].cumsum() / part.calls
            axes.step(part.latency[order] * 1e3, np.maximum(above, 0.5 / part.calls), where="post", label=name)
        axes.set(xlabel="ms", ylabel="share of calls that took longer", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return Plot("latency_distribution", "How many calls took longer than a time: the tail, by kind of call.", *png)


def by_users(run: Recording) -> NDArray[np.float64]:
    """(n, 3): users, throughput and p99 in seconds, a row for each number of users."""
    users = np.array([run.users.get(second, -1) for second in run.second.tolist()])
    rows = []
    for number in sorted(set(users.tolist()) - {-1}):
        part = run.of(users == number)
        seconds = len(set(part.second.tolist()))
        rows.append((number, (part.calls - part.failures) / seconds, part.quantile(0.99)))
    return np.array(rows)


def knee(steps: NDArray[np.float64]) -> int:
    """The row of `by_users` after which more users bring more latency than throughput.

    Kneedle (Satopää et al., ICDCSW 2011): throughput over users, both scaled to 0…1; the knee is where it lies highest
    above the diagonal.
    """
    users, throughput = np.log(steps[:, 0]), steps[:, 1]
    scaled = [(each - each.min()) / max(float(np.ptp(each)), 1e-12) for each in (users, throughput)]
    return int((scaled[1] - scaled[0]).argmax())


def throughput_against_latency(steps: NDArray[np.float64]) -> Plot:
    """One point for each number of users, the knee marked."""
    place = knee(steps)
    with _canvas(7, 4.5) as (figure, png):
        axes = figure.subplots()
        axes.plot(steps[:, 1], steps[:, 2] * 1e3, marker="o")
        for users, throughput, latency in steps:
            axes.annotate(f"{users:.0f}", (throughput, latency * 1e3), textcoords="offset points", xytext=(5, 5))
        axes.plot(*steps[place, 1:] * (1, 1e3), "o", markersize=14, fillstyle="none", color="red", label="knee")
        axes.set(xlabel="calls/s", ylabel="p99 ms", yscale="log")
        axes.legend()
    users, throughput, latency = steps[place]
    caption = f"By number of users; the knee is at {users:.0f}: {throughput:.0f} calls/s, p99 {latency * 1e3:.0f} ms."
    return Plot("throughput_against_latency", caption, *png)


def errors(run: Recording) -> Plot:
    """Failed calls by status, second by second."""
    failed = run.of(run.failed)
    with _canvas(9, 3) as (figure, png):
        axes = figure.subplots()
        for code in failed.codes():
            part = failed.of(failed.code == code)
            seconds = np.bincount(part.second, weights=part.count, minlength=int(run.second.max()) + 1)
            axes.plot(seconds, label=code)
        axes.set(xlabel="second", ylabel="failed calls")
        axes.legend()
    return Plot("errors", "Calls that failed, by status.", *png)


def stages(observer: Observer) -> Plot:
    """Where a prediction's time goes in the gateway."""
    with _canvas(7, 2.5) as (figure, png):
        axes = figure.subplots()
        axes.barh(list(observer.stages), [seconds * 1e3 for seconds in observer.stages.values()])
        axes.set(xlabel="mean ms")
    return Plot("stages", "Mean time of a prediction in each stage, as the gateway measured it.", *png)


def resources(observer: Observer) -> Plot:
    """CPU and memory of each process."""
    with _canvas(9, 3.5) as (figure, png):
        left, right = figure.subplots(1, 2)
        for name, cores in observer.cpu.items():
            left.plot(cores, label=name)
            right.plot(np.array(observer.memory[name]) / _MIB, label=name)
        left.set(xlabel="second", ylabel="cores", ylim=(0, None))
        right.set(xlabel="second", ylabel="MiB resident", ylim=(0, None))
        left.legend()
    return Plot("resources", "What each process used.", *png)


@contextlib.contextmanager
def _canvas(width: float, height: float) -> Iterator[tuple[Figure, list[bytes]]]:
    """A figure of inches, and the list that its PNG will be in afterwards."""
    figure = Figure(figsize=(width, height), layout="constrained")
    png: list[bytes] = []
    yield figure, png
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    png.append(file.getvalue())
