"""h2load as the load generator: it costs so little that the server, and not the client, sets the figure."""

import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path


class LoadError(Exception):
    """h2load is not there, or calls failed."""


@dataclass(frozen=True)
class Load:
    """`calls` calls over `connections` connections with `streams` at once on each."""

    calls: int
    connections: int = 8
    streams: int = 16


@dataclass(frozen=True)
class Target:
    """What is called, with which message; by gRPC, or with another content type by HTTP/1.1."""

    address: str
    method: str
    message: bytes
    content_type: str = "application/grpc"


@dataclass(frozen=True)
class Figure:
    """What a load came to."""

    rate: float
    """Calls a second."""
    p50: float
    """Seconds."""


def run(target: Target, key: str, load: Load, scratch: Path) -> Figure:
    """Calls `target` and measures; LoadError unless every call ended with an HTTP success.

    The gRPC status travels in trailers, which h2load does not look at: check an answer before.
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
        f"http://{target.address}{target.method}",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", ended.stdout)
    succeeded = re.search(r"(\d+) succeeded", ended.stdout)
    if ended.returncode or not rate or not succeeded or int(succeeded.group(1)) != load.calls:
        raise LoadError(f"h2load: {ended.stdout[-400:]}{ended.stderr[-400:]}")
    # Start, status and duration of each call, times in microseconds.
    durations = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    return Figure(float(rate.group(1)), durations[len(durations) // 2] / 1e6)
