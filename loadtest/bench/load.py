"""h2load as the load generator: it costs so little that the server, and not the client, sets the figure."""

import re
import shutil
import struct
import subprocess
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families


class LoadError(Exception):
    """h2load is not there, or calls failed."""


@dataclass(frozen=True)
class Load:
    """`calls` calls over `connections` connections with `streams` at once on each."""

    calls: int
    connections: int = 8
    streams: int = 16
    rate: float | None = None
    """Calls a second, however fast the answers come; None is as fast as they do."""


@dataclass(frozen=True)
class Target:
    """What is called, with which message; by gRPC, or with another content type by HTTP/1.1."""

    address: str
    method: str
    message: bytes
    content_type: str = "application/grpc"
    pid: int | None = None
    """The server's process, where it is to be measured."""
    http: str | None = None
    """Where a gateway tells how its calls ended; h2load itself does not see it."""


@dataclass(frozen=True)
class Figure:
    """What a load came to."""

    rate: float
    """Calls a second."""
    p50: float
    """Seconds."""
    cpu: float = 0.0
    """Processor seconds of the server in a call, where its process is known: on a busy machine the steadiest figure."""
    p99: float = 0.0
    """Seconds."""


def run(target: Target, key: str, load: Load, scratch: Path) -> Figure:
    """Calls `target` and measures; LoadError unless every call ended well, as far as that can be told.

    The gRPC status travels in trailers, which h2load does not look at: check an answer before, or let a gateway say.
    """
    if shutil.which("h2load") is None:
        raise LoadError("h2load is missing; Debian and Ubuntu have it in the package nghttp2-client")
    body = scratch / "request.bin"
    grpc = target.content_type == "application/grpc"
    body.write_bytes((b"\0" + struct.pack(">I", len(target.message)) if grpc else b"") + target.message)
    log = scratch / "h2load.tsv"
    log.unlink(missing_ok=True)
    command = [
        "h2load",
        f"--requests={load.calls}",
        f"--clients={load.connections}",
        f"--max-concurrent-streams={load.streams}",
        "--threads=1",
        f"--data={body}",
        f"--log-file={log}",
        f"--header=content-type: {target.content_type}",
        "--header=te: trailers" if grpc else "--h1",
        f"--header=authorization: Bearer {key}",
        *([] if load.rate is None else [f"--rps={load.rate / load.connections:.3f}"]),
        f"http://{target.address}{target.method}",
    ]
    failed = _failed(target.http)
    began = _cpu_seconds(target.pid)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    cpu = (_cpu_seconds(target.pid) - began) / load.calls
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", ended.stdout)
    succeeded = re.search(r"(\d+) succeeded", ended.stdout)
    if ended.returncode or not rate or not succeeded or int(succeeded.group(1)) != load.calls:
        raise LoadError(f"h2load: {ended.stdout[-400:]}{ended.stderr[-400:]}")
    if failures := _failed(target.http) - failed:
        raise LoadError(f"calls of {target.method} failed: {dict(failures)}")
    # Start, status and duration of each call, times in microseconds.
    durations = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    p50, p99 = (durations[int(len(durations) * share)] / 1e6 for share in (0.5, 0.99))
    return Figure(float(rate.group(1)), p50, cpu, p99)


def _failed(http: str | None) -> Counter[str]:
    """How many of a gateway's calls have failed so far, by status code."""
    failed: Counter[str] = Counter()
    if http is not None:
        with urllib.request.urlopen(f"http://{http}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "tensorgate_calls_total" and sample.labels["code"] != "OK":
                    failed[sample.labels["code"]] += int(sample.value)
    return failed


def _cpu_seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
