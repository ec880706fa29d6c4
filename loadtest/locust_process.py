"""Locust as a process of its own: it patches the standard library of the one that it runs in."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.recording import Recording

HERE = Path(__file__).parent
_LOCUSTFILE = HERE / "locustfile.py"
PREFIX = "loadtest: "


class LoadFailedError(Exception):
    """Locust could not load the target."""


@dataclass(frozen=True)
class Load:
    """One run of Locust without its page."""

    user: str
    """The class in the locustfile."""
    host: str
    shape: str = ""
    """A file in shapes/; else `users` for `seconds`."""
    users: int = 8
    seconds: float = 0.0
    options: Sequence[str] = field(default_factory=tuple)


def run(load: Load, record: Path, *, key: str) -> Recording:
    """Runs it and returns what it recorded in `record`; LoadFailedError says why it could not."""
    files = [_LOCUSTFILE, *([HERE / "shapes" / f"{load.shape}.py"] if load.shape else [])]
    record.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "locust", "-f", ",".join(map(str, files)), load.user),
        *("--headless", "--only-summary", "--loglevel", "WARNING", "--host", load.host, "--record", str(record)),
        *([] if load.shape else ["-u", str(load.users), "-r", str(load.users), "-t", f"{load.seconds:g}s"]),
        *load.options,
    ]
    # Failed calls are counted, and judged by the thresholds: they are no reason to throw a run away.
    environment = {**os.environ, "TENSORGATE_KEY": key, "PYTHONPATH": str(HERE.parent)}
    with record.with_suffix(".log").open("w") as log:
        # Calls under way at the end are waited for, and counted.
        command += ["--exit-code-on-error", "0", "--stop-timeout", "10"]
        ended = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
    if ended.returncode:
        raise LoadFailedError(_last_words(Path(log.name)) or f"Locust ended with {ended.returncode}, see {log.name}")
    return Recording.load(record)


def _last_words(log: Path) -> str:
    """What the locustfile said of a load that cannot start."""
    said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(PREFIX)]
    return said[-1].removeprefix(PREFIX) if said else ""
